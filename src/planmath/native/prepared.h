/* A prepared call: a C function and its argument words, some of which are patched with the addresses of the operands
 * before each invocation. Every function that planmath executes takes integers and pointers only, so on the 64-bit
 * ABIs of Linux and Windows one trampoline for each number of words serves them all. */
#ifndef PLANMATH_PREPARED_H
#define PLANMATH_PREPARED_H

#include <stdint.h>
#include <string.h>

enum { PM_WORDS = 20, PM_SLOTS = 10, PM_LOOPS = 16 };

typedef intptr_t word;

typedef struct pm_call {
    void *function;
    int n_words, n_slots, n_loops, returns_status;
    int goes_on;                     /* what follows is done whatever its status is, which is told at the end */
    word words[PM_WORDS];
    int slot_word[PM_SLOTS];         /* which word the slot patches */
    int slot_operand[PM_SLOTS];      /* with which operand's address */
    word slot_offset[PM_SLOTS];      /* plus how many bytes */
    word loop_count[PM_LOOPS];       /* nested repetitions, outermost first */
    word loop_step[PM_LOOPS][PM_SLOTS];
    int n_aligned;                   /* how many slots, from the first, the alignment is asked of */
    word alignment_mask;             /* addresses with any of these bits set need the other call */
    const struct pm_call *unaligned;
    int condition_operand, condition_size; /* a number that decides, of this operand or (-1) at the offset, and its bytes;
                                            * no bytes: there is none */
    word condition_offset;
    uint64_t condition_bits;         /* the bits of 8 bytes, or of all there are, that are set only in what is not 0 */
    const struct pm_call *if_zero;   /* made in place of this one where the number is 0; none: nothing is */
} pm_call;

#define A(i) a[i]
#define W word
static inline word pm_invoke(void *f, int n, const word *a) {
    switch (n) {
    case 0: return ((W(*)(void))f)();
    case 1: return ((W(*)(W))f)(A(0));
    case 2: return ((W(*)(W, W))f)(A(0), A(1));
    case 3: return ((W(*)(W, W, W))f)(A(0), A(1), A(2));
    case 4: return ((W(*)(W, W, W, W))f)(A(0), A(1), A(2), A(3));
    case 5: return ((W(*)(W, W, W, W, W))f)(A(0), A(1), A(2), A(3), A(4));
    case 6: return ((W(*)(W, W, W, W, W, W))f)(A(0), A(1), A(2), A(3), A(4), A(5));
    case 7: return ((W(*)(W, W, W, W, W, W, W))f)(A(0), A(1), A(2), A(3), A(4), A(5), A(6));
    case 8: return ((W(*)(W, W, W, W, W, W, W, W))f)(A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7));
#define FIRST8 A(0), A(1), A(2), A(3), A(4), A(5), A(6), A(7)
#define W8 W, W, W, W, W, W, W, W
    case 9: return ((W(*)(W8, W))f)(FIRST8, A(8));
    case 10: return ((W(*)(W8, W, W))f)(FIRST8, A(8), A(9));
    case 11: return ((W(*)(W8, W, W, W))f)(FIRST8, A(8), A(9), A(10));
    case 12: return ((W(*)(W8, W, W, W, W))f)(FIRST8, A(8), A(9), A(10), A(11));
    case 13: return ((W(*)(W8, W, W, W, W, W))f)(FIRST8, A(8), A(9), A(10), A(11), A(12));
    case 14: return ((W(*)(W8, W, W, W, W, W, W))f)(FIRST8, A(8), A(9), A(10), A(11), A(12), A(13));
    case 15: return ((W(*)(W8, W, W, W, W, W, W, W))f)(FIRST8, A(8), A(9), A(10), A(11), A(12), A(13), A(14));
#define NEXT8 A(8), A(9), A(10), A(11), A(12), A(13), A(14), A(15)
    case 16: return ((W(*)(W8, W8))f)(FIRST8, NEXT8);
    case 17: return ((W(*)(W8, W8, W))f)(FIRST8, NEXT8, A(16));
    case 18: return ((W(*)(W8, W8, W, W))f)(FIRST8, NEXT8, A(16), A(17));
    case 19: return ((W(*)(W8, W8, W, W, W))f)(FIRST8, NEXT8, A(16), A(17), A(18));
    default: return ((W(*)(W8, W8, W, W, W, W))f)(FIRST8, NEXT8, A(16), A(17), A(18), A(19));
    }
}
#undef A
#undef W
#undef W8
#undef FIRST8
#undef NEXT8

/* Whether the number that decides about the call is 0, of either sign. */
static int pm_decides_zero(const pm_call *call, const word *addresses) {
    const int of = call->condition_operand;
    const void *number = (const void *)((of < 0 ? 0 : addresses[of]) + call->condition_offset);
    uint16_t quarter;
    uint32_t half;
    uint64_t bits[2] = {0, 0};
    switch (call->condition_size) { /* sizes that the compiler knows need no function call */
    case 2: memcpy(&quarter, number, 2); bits[0] = quarter; break;
    case 4: memcpy(&half, number, 4); bits[0] = half; break;
    case 8: memcpy(bits, number, 8); break;
    default: memcpy(bits, number, 16);
    }
    return ((bits[0] | bits[1]) & call->condition_bits) == 0;
}

/* Runs the call on the operands at `addresses`; returns the first status that is not zero, once the loops have ended if
 * the call goes on in spite of it. The words are copied, so that two threads inside the same call do not see each other's operands. */
static int pm_run(const pm_call *call, const word *addresses) {
    word words[PM_WORDS], position[PM_LOOPS];
    int s, d, status, first = 0;
    word misaligned = 0;
    if (call->condition_size && pm_decides_zero(call, addresses)) {
        if (!call->if_zero) return 0;
        call = call->if_zero;
    }
    for (s = 0; s < call->n_aligned; s++) misaligned |= addresses[call->slot_operand[s]] + call->slot_offset[s];
    while (misaligned & call->alignment_mask) call = call->unaligned;
    memcpy(words, call->words, (size_t)call->n_words * sizeof(word));
    for (s = 0; s < call->n_slots; s++)
        words[call->slot_word[s]] = addresses[call->slot_operand[s]] + call->slot_offset[s];
    for (d = 0; d < call->n_loops; d++) position[d] = 0;
    for (;;) {
        status = (int)pm_invoke(call->function, call->n_words, words);
        if (call->returns_status && status) {
            if (!call->goes_on) return status;
            if (!first) first = status;
        }
        for (d = call->n_loops - 1; d >= 0; d--) { /* an odometer: the innermost loop turns fastest */
            for (s = 0; s < call->n_slots; s++) words[call->slot_word[s]] += call->loop_step[d][s];
            if (++position[d] < call->loop_count[d]) break;
            for (s = 0; s < call->n_slots; s++)
                words[call->slot_word[s]] -= call->loop_step[d][s] * call->loop_count[d];
            position[d] = 0;
        }
        if (d < 0) return first;
    }
}

/* For prepared calls: leaves an operand's address where a later call reads it. */
static void pm_store(word *where, word value) { *where = value; }
/* For prepared calls: leaves a number where a later call reads it. */
static void pm_copy(void *where, const void *number, word size) { memcpy(where, number, (size_t)size); }
/* A call that fails, for addresses that no function may get. */
static int pm_fail(int status) { return status; }

/* A library's handle that several programs use in turn, the functions that give it a stream and temporary memory, and what
 * it was given last. Who calls holds the handle's lock. */
typedef struct {
    word handle;
    int (*set_stream)(word handle, word stream);
    int (*set_workspace)(word handle, word workspace, word size);
    word is_given, stream, workspace, size;
} pm_handle;

/* For prepared calls: gives a handle its stream and temporary memory, unless it has them. */
static int pm_give(pm_handle *of, word stream, word workspace, word size) {
    int status;
    if (of->is_given && of->stream == stream && of->workspace == workspace && of->size == size) return 0;
    of->is_given = 0;
    if ((status = of->set_stream(of->handle, stream))) return status;
    /* the stream took the one before away */
    if ((status = of->set_workspace(of->handle, workspace, size))) return status;
    of->is_given = 1, of->stream = stream, of->workspace = workspace, of->size = size;
    return 0;
}
#endif
