/* WIDTH threads for a row, each with PER columns of it. */
extern "C" __global__ void by_columns(const parameters p) {
    const long long line = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / WIDTH;
    if (line >= p.lines) return;
    const AT matrix = PLAIN ? 0 : (AT)(line / p.rows), row = (AT)(line - (long long)matrix * p.rows);
    const long long chunks = (p.columns + WIDTH * PER - 1) / (WIDTH * PER);
    const ELEMENT_A *a = p.a;
    for (long long y = blockIdx.y; y < chunks * p.repeats; y += gridDim.y) {
        const long long repeat = PLAIN ? 0 : y / chunks, begin = (y - repeat * chunks) * WIDTH * PER + threadIdx.x % WIDTH;
        const AT of = BATCHED ? matrix : (AT)repeat;
        const ELEMENT_B *b = p.b + shifted(p, p.b_steps, of);
        NUMBER totals[PER];
        for (int n = 0; n < PER; n++) totals[n] = NEUTRAL;
        entries(p, matrix, row, 0, [&](AT place, AT index) {
            const NUMBER value = CONJUGATED_A(read(a[place]));
            const ELEMENT_B *at = b + index * p.b_row;
#pragma unroll
            for (int n = 0; n < PER; n++) {
                const long long column = begin + n * WIDTH;
                if (column < p.columns)
                    totals[n] = JOINED(totals[n], PAIRED(value, CONJUGATED_B(read(at[column * p.b_column]))));
            }
        });
        for (int n = 0; n < PER; n++) {
            const long long column = begin + n * WIDTH;
            if (column < p.columns)
                finish(p, (ELEMENT_C *)p.c + (shifted(p, p.c_steps, of) + row * p.c_row + column * p.c_column), totals[n]);
        }
    }
}
