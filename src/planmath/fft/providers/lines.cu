// A batch of transforms along one axis, in arrays of any layout. Steps between the elements of a transform are constants,
// so that addresses of several elements differ by constants.

struct parameters {
    void *operand, *result, *loaded, *stored;
    double scale;
    long long count, axes, extents[MOST_AXES], read[MOST_AXES], written[MOST_AXES];
};

// Where one of the transforms starts, if there is one of this number.
struct line {
    long long read, written;
    bool there;
};

static __device__ line line_of(const parameters &p, long long number) {
    line found = {0, 0, number < p.count};
    unsigned rest = (unsigned)number;
    for (int axis = 0; axis < (int)p.axes; axis++) {
        const unsigned extent = (unsigned)p.extents[axis], next = rest / extent;
        found.read += (long long)(rest - next * extent) * p.read[axis];
        found.written += (long long)(rest - next * extent) * p.written[axis];
        rest = next;
    }
    return found;
}

static __device__ PART multiplied(PART x, PART by) { return x * by; }
static __device__ ELEMENT multiplied(ELEMENT x, PART by) { return ELEMENT{x.x * by, x.y * by}; }
