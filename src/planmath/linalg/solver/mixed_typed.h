/* Factors in single precision, and solutions that are refined with them: for one dtype of double precision. */

/* A copy of a matrix in single precision, times the power of two that brings its norm to about 1, which is left in
 * `scale`; kl diagonals below the main one and ku above are there. */
static void K(demote)(pm_index rows, pm_index cols, pm_index kl, pm_index ku, const R *a, float *f,
                      const double *squares, double *scale) {
    int exponent = 0;
    if (*squares > 0 && *squares < INFINITY) frexp(sqrt(*squares), &exponent);
    const double factor = ldexp(1, -exponent);
    *scale = factor;
    for (pm_index j = 0; j < cols; j++) {
        pm_index lo = j > ku ? j - ku : 0, hi = j + kl + 1 < rows ? j + kl + 1 : rows;
        const R *src = a + STEP(j, rows);
        float *dst = f + STEP(j, rows);
        _Pragma("omp simd")
        for (pm_index i = lo * PARTS; i < hi * PARTS; i++) dst[i] = (float)(src[i] * factor);
    }
}

/* The exponent of the largest number in memory, which a power of two brings to 1 at most; 0 where there is none. */
static int K(exponent_of)(pm_index n, const R *x) {
    double largest = 0;
    int exponent = 0;
    for (pm_index i = 0; i < n * PARTS; i++) largest = fabs(x[i]) > largest ? fabs(x[i]) : largest;
    if (largest > 0 && largest < INFINITY) frexp(largest, &exponent);
    return exponent < -1000 ? -1000 : exponent; /* the reciprocal has to be a number, too */
}

/* The root of the sum of squares, of numbers of any size. */
static double K(size_of)(pm_index n, const R *x) {
    const int exponent = K(exponent_of)(n, x);
    const double down = ldexp(1, -exponent);
    double sum = 0;
    _Pragma("omp simd reduction(+ : sum)")
    for (pm_index i = 0; i < n * PARTS; i++) sum += (x[i] * down) * (x[i] * down);
    return ldexp(sqrt(sum), exponent);
}

/* What is left to solve for in single precision, each column times a power of two, which is noted. */
static void K(scale_residual)(pm_index n, pm_index k, const R *r, float *y, double *scales, double factor) {
    for (pm_index j = 0; j < k; j++) {
        const R *src = r + STEP(j, n);
        float *dst = y + STEP(j, n);
        const int exponent = K(exponent_of)(n, src);
        const double down = ldexp(1, -exponent);
        for (pm_index i = 0; i < n * PARTS; i++) dst[i] = (float)(src[i] * down);
        scales[j] = ldexp(factor, exponent);
    }
}

/* Begins with a solution of zeros: all of b is left to solve for. */
static void K(begin)(pm_index n, pm_index k, const R *b, R *x, float *y, const double *scale, double *facts) {
    memset(x, 0, (size_t)(n * k) * sizeof(R) * PARTS);
    facts[PM_ERROR] = INFINITY, facts[PM_GROWTH] = facts[PM_STEPS] = 0, facts[PM_STATE] = PM_RUNNING;
    K(scale_residual)(n, k, b, y, facts + PM_SCALES, *scale);
}

/* Adds a correction, and puts b where its residual is to be. */
static void K(correct)(pm_index n, pm_index k, const float *y, const R *b, R *x, R *r, const double *facts) {
    for (pm_index j = 0; j < k; j++) {
        const double factor = facts[PM_SCALES + j];
        const float *src = y + STEP(j, n);
        R *dst = x + STEP(j, n);
        _Pragma("omp simd")
        for (pm_index i = 0; i < n * PARTS; i++) dst[i] += (R)src[i] * factor;
    }
    memcpy(r, b, (size_t)(n * k) * sizeof(R) * PARTS);
}

/* Looks at the residual r after some steps: whether another one is to be made, which `next` counts, and what for. */
static void K(look)(pm_index n, pm_index k, pm_index steps, pm_index last, const R *b, const R *r, const R *x, float *y,
                    const double *squares, const double *scale, double *facts, double *next,
                    const pm_limits *limits) {
    const double norm = sqrt(*squares), before = facts[PM_ERROR];
    double error = 0, growth = 0, doubt = 0;
    if (facts[PM_STATE] != PM_RUNNING) {
        memset(y, 0, (size_t)(n * k) * sizeof(float) * PARTS);
        return;
    }
    for (pm_index j = 0; j < k; j++) {
        const double product = norm * K(size_of)(n, x + STEP(j, n)), side = K(size_of)(n, b + STEP(j, n));
        const double size = product + side, left = K(size_of)(n, r + STEP(j, n));
        const double e = size > 0 ? left / size : left, g = product > 0 ? product / side : product;
        error = e <= error ? error : e, growth = g <= growth ? growth : g; /* NaN stays */
        doubt = e * (g + 1) <= doubt ? doubt : e * (g + 1);
    }
    facts[PM_ERROR] = error, facts[PM_GROWTH] = growth, facts[PM_STEPS] = (double)steps;
    if (error > PM_ENOUGH && error <= before / 2 && steps < last) {
        *next += 1;
        K(scale_residual)(n, k, r, y, facts + PM_SCALES, *scale);
        return;
    }
    facts[PM_STATE] = error <= limits->tolerance && doubt <= limits->product && growth <= limits->growth ? PM_DONE
                                                                                                        : PM_FAILED;
    memset(y, 0, (size_t)(n * k) * sizeof(float) * PARTS);
}
