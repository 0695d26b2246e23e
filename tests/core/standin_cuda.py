"""A stand-in for the CUDA runtime with two devices, for the tests: it keeps a journal of what is asked of it.

Its devices' memory is memory of the host under other addresses, so that who mixes the two is found out. It can launch
kernels that were compiled for the host (`standin_kernels`).
"""

SOURCE = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE ((size_t)1 << 56)
#define HOST(p) ((void *)((size_t)(p) & (DEVICE - 1)))
#define IS_DEVICE(p) ((size_t)(p) >= DEVICE)
enum { INVALID = 1, NO_MEMORY = 2, INVALID_IMAGE = 200, NO_SYMBOL = 500, OTHER_SPACE = 700 };

static char journal[1 << 16];
static int device, capturing, blocks;
static size_t available = 1 << 20;

#define NOTE(...) snprintf(journal + strlen(journal), sizeof journal - strlen(journal), __VA_ARGS__)
const char *standinJournal(void) { return journal; }
void standinForget(void) { journal[0] = 0; }
void standinAvailable(size_t bytes) { available = bytes; }
void standinCapture(int stream) { capturing = stream; }
int standinBlocks(void) { return blocks; }

int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaGetDeviceCount(int *count) { *count = 2; return 0; }
int cudaGetDevice(int *which) { *which = device; return 0; }
int cudaSetDevice(int which) { if (which < 0 || which > 1) return 101; device = which; return 0; }
int cudaDeviceGetAttribute(int *value, int which, int of) { *value = which == 38 ? 4096 : which; return 0; }
int cudaGetDeviceProperties(char *properties, int which) { sprintf(properties, "Stand-in %d", which); return 0; }
int cudaMemGetInfo(size_t *free, size_t *total) { *free = available; *total = 1 << 20; return 0; }
const char *cudaGetErrorString(int status) { return status == NO_MEMORY ? "out of memory" : "an error"; }

int cudaMallocAsync(void **address, size_t size, void *stream) {
    if (size > available) return NO_MEMORY;
    NOTE("allocate %zu on %d:%zu\n", size, device, (size_t)stream);
    *address = (void *)((size_t)aligned_alloc(256, (size + 255) / 256 * 256) | DEVICE);
    blocks++;
    return 0;
}
int cudaFreeAsync(void *address, void *stream) {
    NOTE("free on %d:%zu\n", device, (size_t)stream);
    free(HOST(address));
    blocks--;
    return 0;
}
int cudaHostAlloc(void **address, size_t size, unsigned flags) { *address = malloc(size); blocks++; return 0; }
int cudaFreeHost(void *address) { free(address); blocks--; return 0; }
int cudaPointerGetAttributes(int *attributes, const void *address) {
    attributes[0] = IS_DEVICE(address) ? 2 : 0;
    attributes[1] = 0;
    return 0;
}
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    if (IS_DEVICE(to) != (kind & 1) || IS_DEVICE(from) != kind >> 1) return OTHER_SPACE;
    NOTE("copy %zu %s on %d:%zu\n", size, kind == 1 ? "in" : kind == 2 ? "out" : "within", device, (size_t)stream);
    memcpy(HOST(to), HOST(from), size);
    return 0;
}
int cudaMemsetAsync(void *address, int value, size_t size, void *stream) {
    memset(HOST(address), value, size);
    return 0;
}
int cudaStreamSynchronize(void *stream) { NOTE("wait for %zu\n", (size_t)stream); return 0; }
int cudaStreamIsCapturing(void *stream, int *is) { *is = capturing && capturing == (int)(size_t)stream; return 0; }
int cudaStreamGetDevice(void *stream, int *which) { *which = (size_t)stream >= 100; return 0; }
int cudaEventCreateWithFlags(void **event, unsigned flags) { *event = malloc(1); blocks++; return 0; }
int cudaEventDestroy(void *event) { free(event); blocks--; return 0; }
int cudaEventRecord(void *event, void *stream) { NOTE("record on %zu\n", (size_t)stream); return 0; }
int cudaStreamWaitEvent(void *stream, void *event, unsigned flags) { NOTE("delay %zu\n", (size_t)stream); return 0; }
int cudaEventSynchronize(void *event) { return 0; }
int cudaEventElapsedTime(float *ms, void *start, void *end) { *ms = 0.5f; return 0; }

/* The code of a kernel is the path of a library with functions that launch what it has. */
typedef struct { unsigned x, y, z; } dim3;
int cudaLibraryLoadData(void **library, const char *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) {
    *library = dlopen(code, RTLD_NOW);
    return *library ? 0 : INVALID_IMAGE;
}
int cudaLibraryGetKernel(void **kernel, void *library, const char *name) {
    char symbol[256];
    snprintf(symbol, sizeof symbol, "launch_%s", name);
    *kernel = dlsym(library, symbol);
    return *kernel ? 0 : NO_SYMBOL;
}
int cudaLaunchKernel(void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream) {
    if (!grid.x || !grid.y || grid.y > 65535 || grid.z != 1 || block.y != 1 || block.z != 1) return INVALID;
    NOTE("launch on %d:%zu\n", device, (size_t)stream);
    ((void (*)(unsigned, unsigned, unsigned, void **))kernel)(grid.x, grid.y, block.x, arguments);
    return 0;
}

/* What a provider launches: total = a + b, with a step for each. */
int standinAdd(long n, double *a, long a_step, double *b, long b_step, double *total, long step, void *stream) {
    if (!IS_DEVICE(a) || !IS_DEVICE(b) || !IS_DEVICE(total)) return OTHER_SPACE;
    NOTE("add on %d:%zu\n", device, (size_t)stream);
    a = HOST(a), b = HOST(b), total = HOST(total);
    for (long i = 0; i < n; i++) total[i * step] = a[i * a_step] + b[i * b_step];
    return 0;
}
"""
