/* Included once for each dtype of the values. Sizes are compared by |real| + |imaginary|, as LAPACK does. */
#if IS_COMPLEX
#define SIZE(z) (fabs((double)creal(z)) + fabs((double)cimag(z)))
#else
#define SIZE(z) fabs((double)(z))
#endif

/* Make what is in `row`, by position, the row at position k of a block that begins at s, along the old pivots: its
 * columns of U and L. Returns whether the pivot is large enough. */
static int PM_JOIN(repeat_row, V_NAME)(pm_lu *lu, int32_t k, VALUE *restrict row) {
    const int64_t *starts = lu->lower.starts;
    const int32_t *restrict below = lu->lower.index, *restrict above = lu->upper.index;
    VALUE *restrict lower = lu->lower.values, *restrict upper = lu->upper.values, *pivots = lu->pivots;
    VALUE pivot;
    double largest = 0;
    int64_t e, f;
    for (e = lu->upper.starts[k]; e < lu->upper.starts[k + 1]; e++) {
        int32_t before = above[e];
        VALUE factor = upper[e] = row[before];
        row[before] = 0;
        for (f = starts[before]; f < starts[before + 1]; f++) row[below[f]] -= lower[f] * factor;
    }
    pivot = pivots[k] = row[k];
    row[k] = 0;
    for (e = starts[k]; e < starts[k + 1]; e++) {
        VALUE value = row[below[e]];
        row[below[e]] = 0;
        if (SIZE(value) > largest) largest = SIZE(value);
        lower[e] = value / pivot;
    }
    return SIZE(pivot) > 0 && SIZE(pivot) >= lu->threshold * largest;
}

/* Factorize new values along the old pivots. Returns 0 where one is too small for that. */
static int PM_JOIN(repeat, V_NAME)(pm_lu *lu, const VALUE *values) {
    VALUE *row = lu->work, *outside = lu->outside.values, *pivots = lu->pivots;
    int32_t b, k, i;
    int64_t e = 0;
    for (b = 0; b < lu->blocks; b++) {
        int32_t begin = lu->first[b], end = lu->first[b + 1];
        for (k = begin; k < end; k++) {
            for (i = lu->starts[lu->order[k]]; i < lu->starts[lu->order[k] + 1]; i++) {
                int32_t place = lu->position[lu->columns[i]];
                if (place < begin)
                    outside[e++] = values[i];
                else
                    row[place] = values[i];
            }
            if (end - begin == 1) {
                pivots[k] = row[k], row[k] = 0;
                if (!(SIZE(pivots[k]) > 0)) return 0;
            } else if (!PM_JOIN(repeat_row, V_NAME)(lu, k, row))
                return 0;
        }
    }
    return 1;
}

/* The positions that the one of a column leads to, and itself, in front of those that were found already. */
static int32_t PM_JOIN(reach, V_NAME)(const pm_lu *lu, pm_search *s, int32_t column, int32_t stamp, int32_t top,
                                      int32_t *met) {
    int32_t depth = 0;
    s->stack[0] = column, s->mark[column] = stamp, s->next[0] = lu->lower.starts[lu->position[column]];
    while (depth >= 0) {
        int32_t place = lu->position[s->stack[depth]], deeper = -1;
        int64_t end = s->pruned[place] >= 0 ? lu->lower.starts[place] + s->pruned[place] : lu->lower.starts[place + 1];
        while (s->next[depth] < end && deeper < 0) {
            int32_t other = lu->lower.index[s->next[depth]++];
            if (s->mark[other] == stamp) continue;
            s->mark[other] = stamp;
            if (lu->position[other] < 0)
                s->met[(*met)++] = other;
            else
                deeper = other;
        }
        if (deeper < 0) {
            s->found[--top] = place, depth--;
            continue;
        }
        s->stack[++depth] = deeper, s->next[depth] = lu->lower.starts[lu->position[deeper]];
    }
    return top;
}

/* From now on, follow of each position before only the columns that were eliminated by now, where one of them is that of
 * position k: the others are reached from there. */
static void PM_JOIN(prune, V_NAME)(pm_lu *lu, pm_search *s, int32_t k) {
    VALUE *values = lu->lower.values;
    int32_t *index = lu->lower.index, pivot = lu->column[k];
    int64_t e, front, back;
    for (e = lu->upper.starts[k]; e < lu->upper.starts[k + 1]; e++) {
        int32_t before = lu->upper.index[e];
        if (s->pruned[before] >= 0) continue;
        front = lu->lower.starts[before], back = lu->lower.starts[before + 1];
        while (front < back && index[front] != pivot) front++;
        if (front == back) continue;
        for (front = lu->lower.starts[before]; front < back;) {
            int32_t other = index[front];
            VALUE value = values[front];
            if (lu->position[other] >= 0) {
                front++;
                continue;
            }
            back--;
            index[front] = index[back], values[front] = values[back];
            index[back] = other, values[back] = value;
        }
        s->pruned[before] = (int32_t)(front - lu->lower.starts[before]);
    }
}

/* The pivot's column for the row at position k of those that were met, whose values are in `row`; -1 where all are zero. */
static int32_t PM_JOIN(choose, V_NAME)(const pm_lu *lu, pm_search *s, int32_t k, int32_t met, const VALUE *row) {
    int32_t i, best = -1, diagonal = s->diagonal[k];
    double largest = 0;
    for (i = 0; i < met; i++)
        if (SIZE(row[s->met[i]]) > largest) best = s->met[i], largest = SIZE(row[best]);
    if (best < 0 || !(largest <= DBL_MAX)) return -1;
    if (s->mark[diagonal] == k && SIZE(row[diagonal]) >= lu->threshold * largest) return diagonal;
    if (best != diagonal) { /* whose diagonal that was gets this one in its place */
        int32_t other = s->owner[best];
        s->diagonal[other] = diagonal, s->owner[diagonal] = other;
    }
    return best;
}

/* Factorize the row at position k of a block. */
static int PM_JOIN(factorize_row, V_NAME)(pm_lu *lu, pm_search *s, int32_t k, int32_t met, int32_t top, VALUE *row) {
    int32_t i, n = lu->n, chosen, *index;
    int64_t e = lu->upper.starts[k], f;
    VALUE *values, pivot;
    if (!pm_columns_reserve(&lu->upper, e + n - top, sizeof(VALUE))) return PM_NO_MEMORY;
    index = lu->upper.index, values = lu->upper.values;
    for (i = top; i < n; i++) {
        int32_t before = s->found[i], *restrict below = lu->lower.index;
        VALUE factor = row[lu->column[before]], *restrict lower = lu->lower.values;
        row[lu->column[before]] = 0, index[e] = before, values[e++] = factor;
        for (f = lu->lower.starts[before]; f < lu->lower.starts[before + 1]; f++) row[below[f]] -= lower[f] * factor;
    }
    lu->upper.starts[k + 1] = e;
    e = lu->lower.starts[k];
    if ((chosen = PM_JOIN(choose, V_NAME)(lu, s, k, met, row)) < 0) return PM_SINGULAR;
    if (e + met > lu->most) return PM_FILLED;
    if (!pm_columns_reserve(&lu->lower, e + met, sizeof(VALUE))) return PM_NO_MEMORY;
    index = lu->lower.index, values = lu->lower.values;
    pivot = ((VALUE *)lu->pivots)[k] = row[chosen], row[chosen] = 0;
    for (i = 0; i < met; i++) {
        int32_t column = s->met[i];
        if (column == chosen) continue;
        index[e] = column, values[e++] = row[column] / pivot;
        row[column] = 0;
    }
    lu->lower.starts[k + 1] = e;
    lu->column[k] = chosen, lu->position[chosen] = k;
    PM_JOIN(prune, V_NAME)(lu, s, k);
    return PM_FACTORIZED;
}

static int PM_JOIN(search, V_NAME)(pm_lu *lu, pm_search *s, const VALUE *values) {
    VALUE *row = lu->work, *pivots = lu->pivots;
    int32_t b, k, i, n = lu->n;
    int64_t e, outside = 0;
    for (i = 0; i < n; i++) s->mark[i] = s->pruned[i] = lu->position[i] = -1;
    lu->lower.starts[0] = lu->upper.starts[0] = lu->outside.starts[0] = 0;
    for (b = 0; b < lu->blocks; b++) {
        int32_t begin = lu->first[b], end = lu->first[b + 1];
        for (k = begin; k < end; k++) s->diagonal[k] = lu->diagonal[k], s->owner[lu->diagonal[k]] = k;
        for (k = begin; k < end; k++) {
            int32_t met = 0, top = n;
            lu->place = lu->order[k];
            for (i = lu->starts[lu->place]; i < lu->starts[lu->place + 1]; i++) {
                int32_t column = lu->columns[i], place = lu->position[column];
                if (place >= 0 && place < begin) {
                    lu->outside.index[outside] = place, ((VALUE *)lu->outside.values)[outside++] = values[i];
                    continue;
                }
                row[column] = values[i];
                if (s->mark[column] == k) continue;
                if (place < 0)
                    s->mark[column] = k, s->met[met++] = column;
                else
                    top = PM_JOIN(reach, V_NAME)(lu, s, column, k, top, &met);
            }
            lu->outside.starts[k + 1] = outside;
            if (end - begin > 1) {
                int status = PM_JOIN(factorize_row, V_NAME)(lu, s, k, met, top, row);
                if (status) return status;
                continue;
            }
            i = lu->diagonal[k];
            pivots[k] = row[i], row[i] = 0, lu->column[k] = i, lu->position[i] = k;
            lu->lower.starts[k + 1] = lu->lower.starts[k], lu->upper.starts[k + 1] = lu->upper.starts[k];
            if (!(SIZE(pivots[k]) > 0)) return PM_SINGULAR;
        }
        for (e = lu->lower.starts[begin]; e < lu->lower.starts[end]; e++)
            lu->lower.index[e] = lu->position[lu->lower.index[e]];
    }
    return PM_FACTORIZED;
}

/* Factorize; along the pivots of the last time where they do. */
static intptr_t PM_JOIN(factorize, V_NAME)(pm_lu *lu, const VALUE *values) {
    size_t n = (size_t)lu->n;
    pm_search s;
    int32_t *memory;
    if (lu->complete) {
        lu->complete = PM_JOIN(repeat, V_NAME)(lu, values);
        if (lu->complete) return lu->status = PM_FACTORIZED;
    }
    memset(lu->work, 0, n * sizeof(VALUE));
    memory = malloc(7 * n * sizeof(int32_t)), s.next = malloc(n * sizeof(int64_t));
    lu->status = PM_NO_MEMORY;
    if (memory && s.next && pm_columns_reserve(&lu->outside, lu->starts[n] + 1, sizeof(VALUE)) &&
        pm_columns_reserve(&lu->lower, lu->expected + 1, sizeof(VALUE)) &&
        pm_columns_reserve(&lu->upper, lu->expected + 1, sizeof(VALUE))) {
        s.mark = memory, s.pruned = memory + n, s.found = memory + 2 * n, s.met = memory + 3 * n;
        s.stack = memory + 4 * n, s.diagonal = memory + 5 * n, s.owner = memory + 6 * n;
        lu->status = PM_JOIN(search, V_NAME)(lu, &s, values);
    }
    free(memory), free(s.next);
    lu->complete = lu->status == PM_FACTORIZED;
    return lu->status;
}

/* How many rows have an entry on the diagonal that is less than this part of the largest one. Without an order, it is the
 * matrix's own diagonal. */
static intptr_t PM_JOIN(weak, V_NAME)(int32_t n, const int32_t *starts, const int32_t *columns, const int32_t *order,
                                      const int32_t *diagonal, double threshold, const VALUE *values) {
    int32_t k, i;
    intptr_t count = 0;
    for (k = 0; k < n; k++) {
        double largest = 0, own = 0;
        int32_t row = order ? order[k] : k, column = order ? diagonal[k] : k;
        for (i = starts[row]; i < starts[row + 1]; i++) {
            if (SIZE(values[i]) > largest) largest = SIZE(values[i]);
            if (columns[i] == column) own = SIZE(values[i]);
        }
        count += own < threshold * largest;
    }
    return count;
}

/* Solve A x = b for each column; x may not be b. */
static intptr_t PM_JOIN(solve, V_NAME)(pm_lu *lu, intptr_t columns, const VALUE *b, VALUE *x) {
    const int64_t *above = lu->upper.starts, *below = lu->lower.starts, *outside = lu->outside.starts;
    const int32_t *above_index = lu->upper.index, *below_index = lu->lower.index, *outside_index = lu->outside.index;
    const VALUE *upper = lu->upper.values, *lower = lu->lower.values, *other = lu->outside.values, *pivots = lu->pivots;
    VALUE *restrict y = lu->work;
    int32_t block, k, begin, end, n = lu->n;
    int64_t e;
    intptr_t c;
    for (c = 0; c < columns; c++, b += n, x += n)
        for (block = 0; block < lu->blocks; block++) {
            begin = lu->first[block], end = lu->first[block + 1];
            for (k = begin; k < end; k++) {
                VALUE sum = b[lu->order[k]];
                for (e = outside[k]; e < outside[k + 1]; e++) sum -= other[e] * y[outside_index[e]];
                for (e = above[k]; e < above[k + 1]; e++) sum -= upper[e] * y[above_index[e]];
                y[k] = sum / pivots[k];
            }
            for (k = end - 1; k >= begin; k--) {
                VALUE sum = y[k];
                for (e = below[k]; e < below[k + 1]; e++) sum -= lower[e] * y[below_index[e]];
                x[lu->column[k]] = y[k] = sum;
            }
        }
    memset(lu->work, 0, (size_t)n * sizeof(VALUE));
    return 0;
}

#undef SIZE
#undef VALUE
#undef V_NAME
#undef IS_COMPLEX
