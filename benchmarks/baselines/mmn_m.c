/* M/M/n+M written straight down: one binary heap of (time, kind, caller), one FIFO, nothing else. The yardstick for the
 * simulation kernel, which does the same work through the router. Usage: mmn_m CALLS N LAMBDA MU THETA SEED
 * prints: seconds of the loop, share abandoned, mean wait of all. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum kind { ARRIVAL, DEPARTURE, PATIENCE };
typedef struct { double t; uint32_t kind, caller; } event;

static event *heap;
static int heap_size;

static void push(double t, uint32_t kind, uint32_t caller)
{
    int i = heap_size++;
    while (i > 0) {
        int parent = (i - 1) >> 1;
        if (heap[parent].t <= t)
            break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i].t = t;
    heap[i].kind = kind;
    heap[i].caller = caller;
}

static event pop(void)
{
    event top = heap[0], last = heap[--heap_size];
    int i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child >= heap_size)
            break;
        if (child + 1 < heap_size && heap[child + 1].t < heap[child].t)
            child++;
        if (heap[child].t >= last.t)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

static uint64_t state[4];

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static uint64_t next(void) /* xoshiro256++ */
{
    uint64_t result = rotl(state[0] + state[3], 23) + state[0], t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotl(state[3], 45);
    return result;
}

static double exponential(double mean) { return -log((double)((next() >> 11) + 1) * 0x1p-53) * mean; }

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    long calls = atol(argv[1]), arrived = 0, abandoned = 0;
    int n = atoi(argv[2]), busy = 0;
    double lambda = atof(argv[3]), mu = atof(argv[4]), theta = atof(argv[5]), wait = 0;
    for (int i = 0; i < 4; i++)
        state[i] = 0x9E3779B97F4A7C15u * (uint64_t)(atol(argv[6]) * 4 + i + 1);
    for (int i = 0; i < 20; i++)
        next();
    heap = malloc(sizeof(event) * 1000000);
    double *came = malloc(sizeof(double) * (size_t)calls);
    unsigned char *waiting = calloc((size_t)calls, 1);
    uint32_t *fifo = malloc(sizeof(uint32_t) * (size_t)calls);
    long head = 0, tail = 0;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    push(exponential(1 / lambda), ARRIVAL, 0);
    while (heap_size) {
        event e = pop();
        if (e.kind == ARRIVAL) {
            uint32_t c = (uint32_t)arrived++;
            came[c] = e.t;
            if (arrived < calls)
                push(e.t + exponential(1 / lambda), ARRIVAL, 0);
            if (busy < n) {
                busy++;
                push(e.t + exponential(1 / mu), DEPARTURE, c);
            } else {
                waiting[c] = 1;
                fifo[tail++] = c;
                push(e.t + exponential(1 / theta), PATIENCE, c);
            }
        } else if (e.kind == DEPARTURE) {
            while (head < tail && !waiting[fifo[head]])
                head++;
            if (head < tail) {
                uint32_t c = fifo[head++];
                waiting[c] = 0;
                wait += e.t - came[c];
                push(e.t + exponential(1 / mu), DEPARTURE, c);
            } else {
                busy--;
            }
        } else if (waiting[e.caller]) {
            waiting[e.caller] = 0;
            abandoned++;
            wait += e.t - came[e.caller];
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.9f %.6f %.6f\n", (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec),
           (double)abandoned / (double)calls, wait / (double)calls);
    return 0;
}
