/* Wallace & Whitt's setting written straight down: 6 types, 90 agents of 15 for each type first, 30 places to wait, service
 * 600 s. An arrival takes the compatible idle agent with the best skill level, then the longest idle; what a freed agent
 * takes is RULE: 0 = the longest waiting of all its types (first come first served), 1 = its own types in the order of its
 * skill, first come first served inside. Linear scans, no router: the yardstick and the check of the simulator.
 * Usage: six_types CALLS ERLANG SKILLS RULE SEED; prints: seconds, share blocked, mean wait of served s, share delayed */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TYPES = 6, AGENTS = 90, PLACES = 30, ROOM = 64 };

static double done_at[AGENTS]; /* a heap of busy agents by the end of their service */
static int heap[AGENTS], busy;
static double idle_since[AGENTS];
static int is_idle[AGENTS], skill[AGENTS][TYPES], rank_of[AGENTS][TYPES];
static double queue[TYPES][ROOM];
static int head[TYPES], length[TYPES];

static void push(int agent)
{
    int i = busy++;
    while (i > 0 && done_at[heap[(i - 1) / 2]] > done_at[agent]) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = agent;
}

static int pop(void)
{
    int top = heap[0], last = heap[--busy], i = 0;
    for (;;) {
        int c = 2 * i + 1;
        if (c >= busy)
            break;
        if (c + 1 < busy && done_at[heap[c + 1]] < done_at[heap[c]])
            c++;
        if (done_at[heap[c]] >= done_at[last])
            break;
        heap[i] = heap[c];
        i = c;
    }
    heap[i] = last;
    return top;
}

static uint64_t state;

static double uniform(void) /* splitmix64 */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)(((z ^ (z >> 31)) >> 11) + 1) * 0x1p-53;
}

static int best_agent(int type)
{
    int best = -1;
    for (int a = 0; a < AGENTS; a++)
        if (is_idle[a] && rank_of[a][type] < TYPES
            && (best < 0 || rank_of[a][type] < rank_of[best][type]
                || (rank_of[a][type] == rank_of[best][type] && idle_since[a] < idle_since[best])))
            best = a;
    return best;
}

static int next_type(int agent, int skills, int rule)
{
    int best = -1;
    for (int j = 0; j < skills; j++) {
        int type = skill[agent][j];
        if (!length[type])
            continue;
        if (rule)
            return type;
        if (best < 0 || queue[type][head[type]] < queue[best][head[best]])
            best = type;
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    long calls = atol(argv[1]), blocked = 0, delayed = 0, served = 0, came = 0, warm_up = calls / 50;
    double lambda = atof(argv[2]) / 600.0, wait = 0, now = 0, arrival;
    int skills = atoi(argv[3]), rule = atoi(argv[4]), waiting = 0;
    state = (uint64_t)atol(argv[5]) * 0xD1342543DE82EF95u;
    for (int a = 0; a < AGENTS; a++) {
        is_idle[a] = 1;
        for (int t = 0; t < TYPES; t++)
            rank_of[a][t] = TYPES;
        for (int j = 0; j < skills; j++) {
            skill[a][j] = j ? (a % TYPES + 1 + (a / TYPES + j - 1) % 5) % TYPES : a % TYPES;
            rank_of[a][skill[a][j]] = j;
        }
    }
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    arrival = -log(uniform()) / lambda;
    while (came < calls) {
        if (!busy || arrival <= done_at[heap[0]]) {
            int type = (int)(uniform() * TYPES) % TYPES, counted = came++ >= warm_up, a = best_agent(type);
            now = arrival;
            arrival = now - log(uniform()) / lambda;
            if (a >= 0) {
                is_idle[a] = 0;
                done_at[a] = now - 600.0 * log(uniform());
                push(a);
                served += counted;
            } else if (waiting == PLACES) {
                blocked += counted;
            } else {
                queue[type][(head[type] + length[type]++) % ROOM] = now;
                waiting++;
                delayed += counted;
            }
        } else {
            int a = pop(), type = next_type(a, skills, rule);
            now = done_at[a];
            if (type < 0) {
                is_idle[a] = 1;
                idle_since[a] = now;
                continue;
            }
            if (came > warm_up) {
                wait += now - queue[type][head[type]];
                served++;
            }
            head[type] = (head[type] + 1) % ROOM;
            length[type]--;
            waiting--;
            done_at[a] = now - 600.0 * log(uniform());
            push(a);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.9f %.8f %.6f %.6f\n", (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec),
           (double)blocked / (double)(calls - warm_up), wait / (double)served,
           (double)delayed / (double)(calls - warm_up - blocked));
    return 0;
}
