/* How the result is prepared and added to, and vectors of its columns: included by loops_typed.h. */

/* The instructions of x86-64 that compilers do not find by themselves. */
#if defined(__x86_64__) && BITS == 64 && PM_VECTOR == 16
#define PM_LESS_OF __builtin_ia32_minpd
#define PM_MORE_OF __builtin_ia32_maxpd
#define PM_STREAM_OF __builtin_ia32_movntpd
#elif defined(__x86_64__) && BITS == 64 && PM_VECTOR == 32
#define PM_LESS_OF __builtin_ia32_minpd256
#define PM_MORE_OF __builtin_ia32_maxpd256
#define PM_STREAM_OF __builtin_ia32_movntpd256
#elif defined(__x86_64__) && BITS == 64 && PM_VECTOR == 64
#define PM_STREAM_OF __builtin_ia32_movntpd512
#elif defined(__x86_64__) && BITS == 32 && PM_VECTOR == 16
#define PM_LESS_OF __builtin_ia32_minps
#define PM_MORE_OF __builtin_ia32_maxps
#define PM_STREAM_OF __builtin_ia32_movntps
#elif defined(__x86_64__) && BITS == 32 && PM_VECTOR == 32
#define PM_LESS_OF __builtin_ia32_minps256
#define PM_MORE_OF __builtin_ia32_maxps256
#define PM_STREAM_OF __builtin_ia32_movntps256
#elif defined(__x86_64__) && BITS == 32 && PM_VECTOR == 64
#define PM_STREAM_OF __builtin_ia32_movntps512
#endif

/* What is added to an element of c. */
#if PM_SCALED
#define PM_PUT(at, sum) (*(at) += alpha * (sum))
#else
#define PM_PUT(at, sum) (*(at) = ADD(*(at), sum))
#endif

/* Prepares rows of c: times beta, or without beta the ZERO of the semiring. */
static void P(prepare)(const pm_job *job, i64 from, i64 to) {
    const i64 *p = job->p, step = p[PM_ROW_STEP], column = p[PM_C_COLUMN], columns = p[PM_COLUMNS];
    const T beta = *(const T *)job->beta;
    i64 position[4] = {0}, nested = p[PM_NESTED], k;
    T *c = (T *)job->c;
    if (beta == 1) return;
    for (k = 0; k < nested; k++)
        if (p[PM_OUTER + 2 * k] <= 0) return; /* there is no matrix */
    const int one = columns == 1; /* whose elements are then as a row */
    const i64 rows = one ? 1 : to - from, count = one ? to - from : columns, by = one ? step : column;
    do {
        for (i64 i = 0; i < rows; i++) {
            T *at = c + from * step + i * step;
            if (beta != 0)
                for (i64 j = 0; j < count; j++) at[j * by] *= beta;
            else if (by == 1)
                for (i64 j = 0; j < count; j++) at[j] = (T)ZERO;
            else
                for (i64 j = 0; j < count; j++) at[j * by] = (T)ZERO;
        }
        for (k = nested - 1; k >= 0; k--) {
            const i64 *loop = p + PM_OUTER + 2 * k;
            c += loop[1];
            if (++position[k] < loop[0]) break;
            c -= loop[0] * loop[1], position[k] = 0;
        }
    } while (k >= 0);
}

/* Of elements of c: makes those of a copy what an addition does not change, or adds those of copies that parts worked on. */
static void P(clear)(char *copy, i64 count) {
    T *x = (T *)copy;
    for (i64 i = 0; i < count; i++) x[i] = (T)ZERO;
}
static void P(merge)(const pm_job *job, const char *copies, i64 count, i64 from, i64 to) {
    const i64 span = job->p[PM_SPAN];
    T *c = (T *)job->c;
    for (i64 n = 0; n < count; n++) {
        const T *x = (const T *)copies + n * span;
        for (i64 i = from; i < to; i++) c[i] = ADD(c[i], x[i]);
    }
}

PM_INLINE void P(store)(T *at, T sum, T alpha, T beta, int assigns) {
#if PM_SCALED
    if (assigns)
        *at = beta == 0 ? alpha * sum : alpha * sum + beta * *at;
    else
        *at += alpha * sum;
#else
    *at = assigns && beta == 0 ? sum : ADD(*at, sum);
#endif
}

#if BITS
/* Vectors of columns. */
enum { P(LANES) = PM_VECTOR / sizeof(T) };
typedef T P(vector) __attribute__((vector_size(PM_VECTOR)));
#define V P(vector)
PM_INLINE V P(load)(const T *x) {
    V v;
    memcpy(&v, x, sizeof v);
    return v;
}
PM_INLINE V P(all)(T x) { return x - (V){0}; }
#if defined(PM_LESS_OF)
PM_INLINE V P(less)(V x, V y) { return (V)PM_LESS_OF(x, y); }
PM_INLINE V P(more)(V x, V y) { return (V)PM_MORE_OF(x, y); }
#else
PM_INLINE V P(less)(V x, V y) {
    for (int l = 0; l < P(LANES); l++) x[l] = PM_LESS(x[l], y[l]);
    return x;
}
PM_INLINE V P(more)(V x, V y) {
    for (int l = 0; l < P(LANES); l++) x[l] = PM_MORE(x[l], y[l]);
    return x;
}
#endif
PM_INLINE void P(keep)(T *at, V sum, T alpha, T beta, int assigns, int streams) {
#if PM_SCALED
    sum *= alpha;
    if (!assigns) sum += P(load)(at);
    else if (beta != 0) sum += beta * P(load)(at);
#else
    if (!assigns || beta != 0) sum = VADD(P(load)(at), sum);
#endif
#ifdef PM_STREAM_OF
    if (streams) {
        PM_STREAM_OF(at, sum);
        return;
    }
#endif
    memcpy(at, &sum, sizeof sum);
}
#endif
#undef PM_LESS_OF
#undef PM_MORE_OF
#undef PM_STREAM_OF
