"""A stand-in for the CUDA runtime with two devices, for the tests: it keeps a journal of what is asked of it.

Its devices' memory is memory of the host under other addresses, so that who mixes the two is found out. It can launch
kernels that were compiled for the host (`standin_kernels`). Several processes may open each other's memory, write
numbers there and wait for them, as by the driver's memory operations; and there is a double of NCCL for messages.
"""

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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
int cudaDeviceGetAttribute(int *value, int which, int of) {
    *value = which == 38 ? 4096 : which == 34 ? of : which;
    return 0;
}
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
    if (kind == 4) kind = IS_DEVICE(to) | IS_DEVICE(from) << 1;
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
int cudaEventQuery(void *event) { return 0; }
int cudaEventElapsedTime(float *ms, void *start, void *end) { *ms = 0.5f; return 0; }

int cudaMemcpy2DAsync(
    char *to, size_t to_pitch, const char *from, size_t from_pitch, size_t width, size_t height, int kind, void *stream
) {
    if (kind != 4 || width > to_pitch || width > from_pitch || (to_pitch | from_pitch) >> 31) return INVALID;
    NOTE("copy %zux%zu on %d:%zu\n", height, width, device, (size_t)stream);
    for (size_t i = 0; i < height; i++)
        memcpy((char *)HOST(to) + i * to_pitch, (char *)HOST(from) + i * from_pitch, width);
    return 0;
}
int cudaMemset(void *address, int value, size_t size) { memset(HOST(address), value, size); return 0; }
int cudaDeviceSynchronize(void) { return 0; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    static size_t made; /* those of device 1 are numbered from 100 on */
    *stream = (void *)(100 * device + 40 + made++ % 60);
    blocks++;
    return 0;
}
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }
int cudaStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
    return priority > 0 || priority < -5 ? INVALID : cudaStreamCreateWithFlags(stream, flags);
}
int cudaStreamDestroy(void *stream) { blocks--; return 0; }

/* Memory that other processes may open: a file, which its handle names. */
static struct { void *address; size_t size; char name[64]; } shared[1024];
static int n_shared;
static pthread_mutex_t sharing = PTHREAD_MUTEX_INITIALIZER;
static int map_shared_alone(const char *name, size_t size, void **address) {
    int file = open(name, size ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, 0600);
    struct stat of;
    if (file < 0 || (size && ftruncate(file, size)) || fstat(file, &of) || n_shared == 1024) return NO_MEMORY;
    void *mapped = mmap(NULL, of.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return NO_MEMORY;
    shared[n_shared].address = mapped, shared[n_shared].size = of.st_size;
    strcpy(shared[n_shared++].name, size ? name : "");
    *address = (void *)((size_t)mapped | DEVICE);
    blocks++;
    return 0;
}
static int map_shared(const char *name, size_t size, void **address) {
    pthread_mutex_lock(&sharing);
    const int status = map_shared_alone(name, size, address);
    pthread_mutex_unlock(&sharing);
    return status;
}
static int unmap_shared_alone(void *address) {
    for (int i = 0; i < n_shared; i++) {
        if (shared[i].address != HOST(address)) continue;
        if (*shared[i].name) unlink(shared[i].name);
        munmap(shared[i].address, shared[i].size);
        shared[i] = shared[--n_shared];
        blocks--;
        return 0;
    }
    return INVALID;
}
static int unmap_shared(void *address) {
    pthread_mutex_lock(&sharing);
    const int status = unmap_shared_alone(address);
    pthread_mutex_unlock(&sharing);
    return status;
}
static void __attribute__((destructor)) remove_shared(void) {
    for (int i = 0; i < n_shared; i++)
        if (*shared[i].name) unlink(shared[i].name);
}
int cudaMalloc(void **address, size_t size) {
    static int made;
    char name[64];
    if (size > available) return NO_MEMORY;
    snprintf(name, sizeof name, "/dev/shm/planmath-standin-%d-%d", getpid(), made++);
    return map_shared(name, size + !size, address);
}
int cudaFree(void *address) { return unmap_shared(address); }
typedef struct { char name[64]; } handle;
int cudaIpcGetMemHandle(handle *found, void *address) {
    for (int i = 0; i < n_shared; i++)
        if (shared[i].address == HOST(address) && *shared[i].name) return strcpy(found->name, shared[i].name), 0;
    return INVALID;
}
int cudaIpcOpenMemHandle(void **address, handle of, unsigned flags) { return map_shared(of.name, 0, address); }
int cudaIpcCloseMemHandle(void *address) { return unmap_shared(address); }

/* The driver's memory operations, by streams that do everything at once. */
static int wait_until(const uint32_t *at, uint32_t value) {
    const time_t end = time(NULL) + 30;
    while ((int32_t)(__atomic_load_n(at, __ATOMIC_ACQUIRE) - value) < 0)
        if (time(NULL) > end) return 702;
        else sched_yield();
    return 0;
}
int cuStreamWriteValue32_v2(void *stream, void *address, uint32_t value, unsigned flags) {
    if (!IS_DEVICE(address) || flags) return INVALID;
    NOTE("write %u on %zu\n", value, (size_t)stream);
    __atomic_store_n((uint32_t *)HOST(address), value, __ATOMIC_RELEASE);
    return 0;
}
int cuStreamWaitValue32_v2(void *stream, void *address, uint32_t value, unsigned flags) {
    if (!IS_DEVICE(address) || flags) return INVALID;
    NOTE("await %u on %zu\n", value, (size_t)stream);
    return wait_until(HOST(address), value);
}

/* NCCL's messages: a box in a file for each pair of ranks. */
enum { BOX = 1 << 20, MOST_CALLS = 64 };
typedef struct { uint32_t sent, taken; size_t size; char bytes[BOX]; } box;
typedef struct { int n, me; box *boxes; } communicator;
typedef struct { char name[128]; } identity;
static _Thread_local struct { int receives, peer; void *address; size_t size; communicator *of; } calls[MOST_CALLS];
static _Thread_local int n_calls, in_group;
const char *ncclGetErrorString(int status) { return "an error"; }
int ncclGetVersion(int *version) { *version = 22800; return 0; }
int ncclGetUniqueId(identity *id) {
    static int made;
    void *unused;
    memset(id, 0, sizeof *id);
    snprintf(id->name, 64, "/dev/shm/planmath-standin-nccl-%d-%d", getpid(), made++);
    return map_shared(id->name, 16 * sizeof(box), &unused);
}
int ncclCommInitRank(communicator **made, int n, identity id, int rank) {
    void *address;
    if (n > 4 || map_shared(id.name, 0, &address)) return 2;
    *made = malloc(sizeof(communicator));
    **made = (communicator){n, rank, HOST(address)};
    return 0;
}
int ncclGroupStart(void) {
    if (in_group) return 5;
    in_group = 1, n_calls = 0;
    return 0;
}
static int note_call(int receives, void *address, size_t size, int type, int peer, communicator *of) {
    if (!in_group || n_calls == MOST_CALLS || type != 1 || !IS_DEVICE(address) || size > BOX) return 4;
    calls[n_calls].receives = receives, calls[n_calls].peer = peer, calls[n_calls].address = HOST(address);
    calls[n_calls].size = size, calls[n_calls++].of = of;
    return 0;
}
int ncclSend(void *from, size_t size, int type, int peer, communicator *of, void *stream) {
    return note_call(0, from, size, type, peer, of);
}
int ncclRecv(void *to, size_t size, int type, int peer, communicator *of, void *stream) {
    return note_call(1, to, size, type, peer, of);
}
int ncclGroupEnd(void) {
    in_group = 0;
    for (int receives = 0; receives < 2; receives++)
        for (int i = 0; i < n_calls; i++) {
            if (calls[i].receives != receives) continue;
            const communicator *c = calls[i].of;
            box *b = &c->boxes[receives ? calls[i].peer * c->n + c->me : c->me * c->n + calls[i].peer];
            if (receives) {
                if (wait_until(&b->sent, b->taken + 1) || b->size != calls[i].size) return 6;
                memcpy(calls[i].address, b->bytes, b->size);
                __atomic_store_n(&b->taken, b->taken + 1, __ATOMIC_RELEASE);
            } else {
                if (wait_until(&b->taken, b->sent)) return 6;
                memcpy(b->bytes, calls[i].address, b->size = calls[i].size);
                __atomic_store_n(&b->sent, b->sent + 1, __ATOMIC_RELEASE);
            }
        }
    return 0;
}

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
