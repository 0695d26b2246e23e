/* The order in which the blocks method eliminates a general sparse matrix: its block triangular form, and within each
 * block an order that fills the factors little.
 *
 * - Rows are matched with columns so that each has an entry: augmenting paths, all of a phase apart from each other
 *   (Pothen and Fan, "Computing the block triangular form of a sparse matrix", ACM TOMS 16, 1990).
 * - Rows that need each other's unknowns, and so have to be solved together, are the strong components of the graph whose
 *   edges lead from a row to the rows that its other columns are matched with (Tarjan, SIAM J. Comput. 1, 1972). They
 *   come out after all that they depend on.
 * - Blocks are ordered by approximate minimum degree (Amestoy, Davis and Duff, SIAM J. Matrix Anal. Appl. 17, 1996), which
 *   tells the fill to expect as well: in the graph of A + A', which is right for pivots on the diagonal, or in that of A A',
 *   which is for whatever pivots the values will ask for, and begins with the columns as elements (Davis, Gilbert, Larimore
 *   and Ng, "A column approximate minimum degree ordering algorithm", ACM TOMS 30, 2004). */
#ifndef PLANMATH_SPARSE_BLOCK_ORDER_H
#define PLANMATH_SPARSE_BLOCK_ORDER_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What is found out: blocks, matched rows, entries of the factors within blocks, multiplications to make them. */
enum { PM_BLOCKS = 0, PM_MATCHED, PM_FILL, PM_OPERATIONS, PM_ORDER_FACTS };

/* What is wrong: not all rows can be matched, or there is no memory. */
enum { PM_ORDERED = 0, PM_UNMATCHED, PM_ORDER_NO_MEMORY };

/* The columns that rows are matched with (-1: none), preferably on the diagonal; `row_of` is the inverse. Returns how many.
 * `work` has 4 n numbers. */
static int32_t pm_match(int32_t n, const int32_t *starts, const int32_t *columns, int32_t *column_of, int32_t *row_of,
                        int32_t *work) {
    int32_t *next = work, *looked = work + n, *path = work + 2 * n, *seen = work + 3 * n;
    int32_t i, k, matched = 0, before = -1, phase = 0;
    for (i = 0; i < n; i++) column_of[i] = row_of[i] = seen[i] = -1;
    for (i = 0; i < n; i++)
        for (k = starts[i]; k < starts[i + 1]; k++)
            if (columns[k] == i) column_of[i] = row_of[i] = i, matched++;
    for (i = 0; i < n; i++) {
        looked[i] = starts[i];
        if (column_of[i] >= 0) continue;
        for (k = starts[i]; k < starts[i + 1]; k++)
            if (row_of[columns[k]] < 0) {
                column_of[i] = columns[k], row_of[columns[k]] = i, matched++;
                break;
            }
    }
    for (; matched < n && matched != before; phase++) { /* until a phase finds no path */
        before = matched;
        for (i = 0; i < n; i++) {
            int32_t depth = 0;
            if (column_of[i] >= 0) continue;
            path[0] = i, next[i] = starts[i];
            while (depth >= 0) {
                int32_t row = path[depth], found = -1, deeper = -1;
                for (; looked[row] < starts[row + 1]; looked[row]++) /* a column that is free now, never looked at again */
                    if (row_of[columns[looked[row]]] < 0) {
                        found = columns[looked[row]];
                        break;
                    }
                if (found >= 0 && seen[found] != phase) {
                    seen[found] = phase;
                    for (; depth >= 0; depth--) { /* each row of the path takes the column that led on from it */
                        int32_t given = column_of[path[depth]];
                        column_of[path[depth]] = found, row_of[found] = path[depth];
                        found = given;
                    }
                    matched++;
                    break;
                }
                for (; next[row] < starts[row + 1] && deeper < 0; next[row]++) {
                    int32_t column = columns[next[row]];
                    if (seen[column] == phase || row_of[column] < 0) continue;
                    seen[column] = phase, deeper = row_of[column];
                }
                if (deeper < 0)
                    depth--;
                else
                    path[++depth] = deeper, next[deeper] = starts[deeper];
            }
        }
    }
    return matched;
}

/* The rows in the order of their strong components, whose first positions go to `first`, followed by n. Returns how many
 * components there are. `work` has 4 n numbers. */
static int32_t pm_components(int32_t n, const int32_t *starts, const int32_t *columns, const int32_t *row_of,
                             int32_t *order, int32_t *first, int32_t *work) {
    int32_t *number = work, *low = work + n, *next = work + 2 * n, *path = work + 3 * n;
    int32_t i, count = 0, blocks = 0, numbered = 0, waiting = n; /* rows of open components: order[waiting...] */
    for (i = 0; i < n; i++) number[i] = -1;
    for (i = 0; i < n; i++) {
        int32_t depth = 0;
        if (number[i] >= 0) continue;
        path[0] = i, number[i] = low[i] = numbered++, next[i] = starts[i], order[--waiting] = i;
        while (depth >= 0) {
            int32_t row = path[depth], deeper = -1;
            for (; next[row] < starts[row + 1] && deeper < 0; next[row]++) {
                int32_t other = row_of[columns[next[row]]];
                if (number[other] < 0)
                    deeper = other;
                else if (number[other] < low[row])
                    low[row] = number[other];
            }
            if (deeper >= 0) {
                path[++depth] = deeper, number[deeper] = low[deeper] = numbered++, next[deeper] = starts[deeper];
                order[--waiting] = deeper;
                continue;
            }
            if (low[row] == number[row]) { /* the rows that wait since then are its component */
                int32_t member;
                first[blocks++] = count;
                do {
                    member = order[waiting++];
                    number[member] = n; /* of no component that is still open */
                    order[count++] = member;
                } while (member != row);
            }
            if (--depth >= 0 && low[row] < low[path[depth]]) low[path[depth]] = low[row];
        }
    }
    first[blocks] = n;
    return blocks;
}

/* The graph of elimination. A vertex is a variable, which stands for `weight` rows that have the same neighbours, or an
 * element, the clique that the elimination of one left behind. The list of a variable has its elements first. */
typedef struct {
    int32_t n, capacity, used;
    int32_t *list;
    int32_t *start, *length, *elements; /* of a list; of what is no variable, `elements` is one of the below */
    int32_t *weight, *degree, *head, *next, *previous, *after, *last, *bucket, *same;
    int64_t *mark;
} pm_graph;
enum { PM_ELEMENT = -2, PM_GONE = -1 };

/* Move the lists to the beginning of the memory. */
static void pm_compact(pm_graph *g) {
    int32_t i, k, used = 0;
    for (i = 0; i < g->n; i++) /* the first of each list gives its place to the owner's name */
        if (g->elements[i] != PM_GONE && g->length[i]) {
            int32_t place = g->start[i];
            g->start[i] = g->list[place], g->list[place] = -i - 1;
        }
    for (k = 0; k < g->used;) {
        int32_t owner = -g->list[k] - 1, length;
        if (owner < 0) {
            k++;
            continue;
        }
        length = g->length[owner];
        g->list[k] = g->start[owner], g->start[owner] = used;
        memmove(g->list + used, g->list + k, (size_t)length * sizeof(int32_t));
        used += length, k += length;
    }
    g->used = used;
}

/* Take a variable out of the list of those with its degree; put it in. */
static void pm_take(pm_graph *g, int32_t i) {
    if (g->next[i] >= 0) g->previous[g->next[i]] = g->previous[i];
    if (g->previous[i] >= 0)
        g->next[g->previous[i]] = g->next[i];
    else
        g->head[g->degree[i]] = g->next[i];
}
static void pm_put(pm_graph *g, int32_t i) {
    int32_t other = g->head[g->degree[i]];
    g->next[i] = other, g->previous[i] = -1, g->head[g->degree[i]] = i;
    if (other >= 0) g->previous[other] = i;
}

/* The rows of b are eliminated right after those of a. */
static void pm_join(pm_graph *g, int32_t a, int32_t b) {
    g->after[g->last[a]] = b, g->last[a] = g->last[b];
    g->weight[b] = 0, g->elements[b] = PM_GONE;
}

/* The element that a pivot leaves: the variables of its own list and of its elements, which end in it. Their weights are
 * negative from now on. Returns the sum of their weights. */
static int32_t pm_eliminate(pm_graph *g, int32_t pivot) {
    int32_t k, bound = 0, size = 0, degree = 0, own = g->elements[pivot];
    for (k = 0; k < own; k++) bound += g->length[g->list[g->start[pivot] + k]];
    bound += g->length[pivot] - own;
    if (bound > g->n) bound = g->n;
    if (g->used > g->capacity - bound) pm_compact(g);
    g->weight[pivot] = -g->weight[pivot];
    for (k = 0; k <= own; k++) {
        int32_t source = k < own ? g->list[g->start[pivot] + k] : pivot;
        int32_t from = g->start[source] + (k < own ? 0 : own), to = g->start[source] + g->length[source];
        if (k < own && g->elements[source] == PM_GONE) continue;
        for (; from < to; from++) {
            int32_t i = g->list[from];
            if (g->weight[i] <= 0) continue;
            degree += g->weight[i], g->weight[i] = -g->weight[i];
            g->list[g->used + size++] = i;
            pm_take(g, i);
        }
        if (k < own) g->elements[source] = PM_GONE;
    }
    g->start[pivot] = g->used, g->length[pivot] = size, g->elements[pivot] = PM_ELEMENT, g->used += size;
    return degree;
}

/* Give variable i of a new element its new list. Returns the weight of its neighbours outside of the element; how much of
 * other elements is outside is their `mark`, from `stage` on. */
static int32_t pm_relist(pm_graph *g, int32_t i, int32_t element, int64_t stage) {
    int32_t start = g->start[i], end = start + g->length[i], from, variables = start + g->elements[i], to = start;
    int32_t outside = 0;
    uint32_t hash = 0;
    for (from = start; from < variables; from++) {
        int32_t other = g->list[from], beyond = (int32_t)(g->mark[other] - stage);
        if (g->elements[other] == PM_GONE) continue;
        if (!beyond) { /* all that it has is in this one too */
            g->elements[other] = PM_GONE;
            continue;
        }
        outside += beyond, hash += (uint32_t)other, g->list[to++] = other;
    }
    g->elements[i] = to - start + 1;
    for (variables = to; from < end; from++) {
        int32_t other = g->list[from];
        if (g->weight[other] <= 0) continue;
        outside += g->weight[other], hash += (uint32_t)other, g->list[to++] = other;
    }
    /* the new element goes first: in place of itself, or of one that ended in it, the list has room for it */
    g->list[to] = g->list[variables], g->list[variables] = g->list[start], g->list[start] = element;
    g->length[i] = to - start + 1;
    g->previous[i] = (int32_t)(hash % (uint32_t)g->n);
    return outside;
}

/* Join the variables of an element that have the same list, found by their hash values. */
static void pm_join_same(pm_graph *g, int32_t element, int32_t *stamp) {
    int32_t k, e, begin = g->start[element], size = g->length[element];
    for (k = 0; k < size; k++) {
        int32_t i = g->list[begin + k], length, other, before = -1;
        if (!g->weight[i]) continue;
        other = g->bucket[g->previous[i]], length = g->length[i];
        if (other >= 0) {
            ++*stamp;
            for (e = 1; e < length; e++) g->same[g->list[g->start[i] + e]] = *stamp;
        }
        for (; other >= 0; before = other, other = g->next[other]) {
            if (g->length[other] != length || g->elements[other] != g->elements[i]) continue;
            for (e = 1; e < length && g->same[g->list[g->start[other] + e]] == *stamp; e++) continue;
            if (e == length) break;
        }
        if (other >= 0) {
            g->weight[other] += g->weight[i];
            pm_join(g, other, i);
        } else { /* it is the last of its bucket */
            g->next[i] = -1;
            if (before >= 0)
                g->next[before] = i;
            else
                g->bucket[g->previous[i]] = i;
        }
    }
    for (k = 0; k < size; k++)
        if (g->weight[g->list[begin + k]]) g->bucket[g->previous[g->list[begin + k]]] = -1;
}

/* Put the first `variables` vertices in `order` as approximate minimum degree has them, those with very many neighbours
 * last, and add what that will fill and cost to the facts. The others are elements to begin with. A list does not name its
 * own vertex; the memory has room for as many more numbers as there are vertices. */
static void pm_minimum_degree(pm_graph *g, int32_t variables, int32_t *order, double *facts) {
    int32_t n = variables, i, k, e, count = 0, minimum = 0, dense = 0, stamp = 0, left;
    int32_t most = (int32_t)(10 * sqrt((double)n));
    int64_t stage = 1;
    if (most < 16) most = 16;
    for (i = 0; i < g->n; i++) {
        g->head[i] = g->after[i] = g->bucket[i] = -1, g->last[i] = i, g->mark[i] = 0, g->same[i] = 0;
        g->weight[i] = i < n && g->length[i] <= most;
        if (i < n && !g->weight[i]) g->elements[i] = PM_GONE, order[n - ++dense] = i;
    }
    for (i = n; i < g->n; i++)
        for (k = 0, g->degree[i] = 0; k < g->length[i]; k++) g->degree[i] += g->weight[g->list[g->start[i] + k]];
    for (i = n - 1; i >= 0; i--) {
        int64_t degree = g->length[i] - g->elements[i];
        if (!g->weight[i]) continue;
        for (k = 0; k < g->elements[i]; k++) degree += g->degree[g->list[g->start[i] + k]] - 1;
        g->degree[i] = degree < n ? (int32_t)degree : n - 1;
        pm_put(g, i);
    }
    for (left = n - dense; left > 0;) {
        int32_t pivot, degree, rows, size, kept = 0, *members;
        while (g->head[minimum] < 0) minimum++;
        pivot = g->head[minimum];
        pm_take(g, pivot);
        degree = pm_eliminate(g, pivot), members = g->list + g->start[pivot], size = g->length[pivot];
        stage += g->n + 1;
        for (k = 0; k < size; k++)
            for (e = 0; e < g->elements[members[k]]; e++) {
                int32_t other = g->list[g->start[members[k]] + e];
                if (g->elements[other] == PM_GONE) continue;
                if (g->mark[other] < stage) g->mark[other] = stage + g->degree[other];
                g->mark[other] += g->weight[members[k]];
            }
        for (k = 0; k < size; k++) {
            int32_t outside = pm_relist(g, i = members[k], pivot, stage);
            if (!outside) { /* its neighbours are the pivot's: it is eliminated with it */
                degree += g->weight[i], g->weight[pivot] += g->weight[i];
                pm_join(g, pivot, i);
            } else if (outside < g->degree[i])
                g->degree[i] = outside;
        }
        pm_join_same(g, pivot, &stamp);
        rows = -g->weight[pivot], left -= rows;
        for (k = 0; k < size; k++) {
            int32_t most_left;
            if (!g->weight[i = members[k]]) continue;
            g->weight[i] = -g->weight[i], members[kept++] = i;
            most_left = left - g->weight[i], g->degree[i] += degree - g->weight[i];
            if (g->degree[i] > most_left) g->degree[i] = most_left;
            if (g->degree[i] < minimum) minimum = g->degree[i];
            pm_put(g, i);
        }
        g->degree[pivot] = degree, g->length[pivot] = kept, g->used = g->start[pivot] + kept;
        if (!kept) g->elements[pivot] = PM_GONE;
        for (i = pivot, k = degree + dense + rows; i >= 0; i = g->after[i]) {
            double below = --k;
            order[count++] = i;
            facts[PM_FILL] += below, facts[PM_OPERATIONS] += below * below + below;
        }
    }
    for (k = dense; k > 0; k--) facts[PM_FILL] += k, facts[PM_OPERATIONS] += (double)k * k;
}

/* The graph of A + A' within blocks. The lists have room for two numbers for each entry. */
static void pm_symmetric_graph(pm_graph *g, const int32_t *starts, const int32_t *columns, const int32_t *row_of,
                               const int32_t *block) {
    int32_t n = g->n, i, k, kept, total = 0;
    for (i = 0; i < n; i++) g->length[i] = g->elements[i] = 0, g->same[i] = -1;
    for (i = 0; i < n; i++)
        for (k = starts[i]; k < starts[i + 1]; k++) {
            int32_t other = row_of[columns[k]];
            if (other != i && block[other] == block[i]) g->length[i]++, g->length[other]++;
        }
    for (i = 0; i < n; i++) g->start[i] = total, total += g->length[i], g->length[i] = 0;
    for (i = 0; i < n; i++)
        for (k = starts[i]; k < starts[i + 1]; k++) {
            int32_t other = row_of[columns[k]];
            if (other == i || block[other] != block[i]) continue;
            g->list[g->start[i] + g->length[i]++] = other, g->list[g->start[other] + g->length[other]++] = i;
        }
    for (i = 0, total = 0; i < n; i++) { /* edges both of whose directions have an entry are there twice */
        int32_t begin = g->start[i];
        for (k = 0, kept = 0; k < g->length[i]; k++) {
            int32_t other = g->list[begin + k];
            if (g->same[other] != i) g->same[other] = i, g->list[total + kept++] = other;
        }
        g->start[i] = total, g->length[i] = kept, total += kept;
    }
    g->used = total;
}

/* The graph of A A' within blocks: column j is element n + j. Columns with very many entries are left out. */
static void pm_column_graph(pm_graph *g, const int32_t *starts, const int32_t *columns, const int32_t *row_of,
                            const int32_t *block) {
    int32_t n = g->n / 2, i, k, total = 0, most = (int32_t)(10 * sqrt((double)n));
    if (most < 16) most = 16;
    memset(g->length, 0, sizeof(int32_t) * (size_t)g->n);
    for (i = 0; i < n; i++)
        for (k = starts[i]; k < starts[i + 1]; k++) g->length[n + columns[k]] += block[row_of[columns[k]]] == block[i];
    for (i = 0; i < n; i++) { /* what is in one row only makes no edges */
        g->elements[n + i] = g->length[n + i] > 1 && g->length[n + i] <= most ? PM_ELEMENT : PM_GONE;
        g->start[n + i] = total, total += g->elements[n + i] == PM_ELEMENT ? g->length[n + i] : 0;
        g->length[n + i] = 0;
    }
    for (i = 0; i < n; i++) {
        g->start[i] = total;
        for (k = starts[i]; k < starts[i + 1]; k++) {
            int32_t column = n + columns[k];
            if (g->elements[column] == PM_GONE || block[row_of[columns[k]]] != block[i]) continue;
            g->list[total++] = column, g->list[g->start[column] + g->length[column]++] = i;
        }
        g->length[i] = g->elements[i] = total - g->start[i];
    }
    g->used = total;
}

/* The order within blocks: of the rows of each, as minimum degree has them in the graph of all. */
static int pm_order_within(int32_t n, int by_columns, const int32_t *starts, const int32_t *columns,
                           const int32_t *row_of, const int32_t *block, int32_t *order, int32_t *place, double *facts) {
    size_t vertices = (size_t)n << by_columns;
    int64_t room = 2 * (int64_t)starts[n] + starts[n] / 2 + (int64_t)vertices + 1;
    int32_t i, *memory = malloc(sizeof(int32_t) * 12 * vertices);
    pm_graph g = {(int32_t)vertices, (int32_t)room};
    g.mark = malloc(sizeof(int64_t) * vertices);
    g.list = room > INT32_MAX || vertices > INT32_MAX / 2 ? NULL : malloc(sizeof(int32_t) * (size_t)room);
    if (!memory || !g.mark || !g.list) {
        free(g.list), free(g.mark), free(memory);
        return PM_ORDER_NO_MEMORY;
    }
    g.start = memory, g.length = memory + vertices, g.elements = memory + 2 * vertices;
    g.weight = memory + 3 * vertices, g.degree = memory + 4 * vertices, g.head = memory + 5 * vertices;
    g.next = memory + 6 * vertices, g.previous = memory + 7 * vertices, g.after = memory + 8 * vertices;
    g.last = memory + 9 * vertices, g.bucket = memory + 10 * vertices, g.same = memory + 11 * vertices;
    (by_columns ? pm_column_graph : pm_symmetric_graph)(&g, starts, columns, row_of, block);
    pm_minimum_degree(&g, n, order, facts);
    memcpy(g.head, order, sizeof(int32_t) * (size_t)n);
    for (i = 0; i < n; i++) order[place[block[g.head[i]]]++] = g.head[i];
    free(g.list), free(g.mark), free(memory);
    return PM_ORDERED;
}

/* Whose order within blocks is wanted: nobody's, that for pivots on the diagonal, or for whatever pivots the values ask. */
enum { PM_UNORDERED = 0, PM_BY_DIAGONAL, PM_BY_COLUMNS };

/* The rows in the order of elimination, the column that is the diagonal of each position, the blocks' first positions
 * followed by n, and the facts; of `known` blocks that are there in some order, the order alone. Returns what is wrong. */
static intptr_t pm_block_order(intptr_t count, intptr_t wanted, intptr_t known, const int32_t *starts,
                               const int32_t *columns, int32_t *order, int32_t *diagonal, int32_t *first,
                               double *facts) {
    int32_t n = (int32_t)count, i, b, blocks = (int32_t)known;
    int32_t *work = malloc(sizeof(int32_t) * 6 * (size_t)n), *column_of = work, *row_of = work + n;
    int status = PM_ORDERED;
    memset(facts, 0, PM_ORDER_FACTS * sizeof(double));
    if (!work) return PM_ORDER_NO_MEMORY;
    facts[PM_MATCHED] = n;
    if (known) {
        for (i = 0; i < n; i++) column_of[order[i]] = diagonal[i], row_of[diagonal[i]] = order[i];
    } else {
        if ((facts[PM_MATCHED] = pm_match(n, starts, columns, column_of, row_of, work + 2 * (size_t)n)) < n) {
            free(work);
            return PM_UNMATCHED;
        }
        blocks = pm_components(n, starts, columns, row_of, order, first, work + 2 * (size_t)n);
    }
    facts[PM_BLOCKS] = blocks;
    if (blocks < n && wanted != PM_UNORDERED) {
        int32_t *block = work + 2 * (size_t)n, *place = work + 3 * (size_t)n;
        for (b = 0; b < blocks; b++) {
            place[b] = first[b];
            for (i = first[b]; i < first[b + 1]; i++) block[order[i]] = b;
        }
        status = pm_order_within(n, wanted == PM_BY_COLUMNS, starts, columns, row_of, block, order, place, facts);
    }
    for (i = 0; i < n; i++) diagonal[i] = column_of[order[i]];
    free(work);
    return status;
}
#endif
