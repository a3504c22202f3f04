/* Telephones without signalling: sockets that each send 20 ms of G.711 fifty times a second to whoever sends to them.
 *
 *   rtp_peer COUNT     sockets on 127.0.0.1, whose ports it prints first
 *
 * Each frame holds the time at which it was sent, which comes through decoding and encoding; what comes is stamped
 * by the kernel. Lines on stdin: "begin" forgets what was counted, "end" prints it as JSON: packets sent, received, missing
 * by their numbers, and delays from one telephone to another. Ends with its stdin. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME 160
#define SLOTS 20 /* of a millisecond: not all telephones send at once */
#define MAX 4096
#define DELAYS 4000000
#define MAGIC 0x2a
#define DIGIT 0x10 /* bytes from here on are loud; a digit is every fourth, since decoding and encoding may change one by one */
#define STEP 4
#define DIGITS 16
#define FIRST 2 /* where in a frame */

typedef struct {
    int socket, known, heard;
    struct sockaddr_in remote;
    uint16_t seq, last;
    uint32_t ts;
    int digits;   /* of the time in what it hears, so far */
    int64_t time;
} telephone;

static telephone telephones[MAX];
static uint32_t delays[DELAYS]; /* us */
static size_t delay_count;
static long sent, received, missing;
static int64_t first_us; /* the first audio since "begin"; 0: none */

static int64_t now_us(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static void take(telephone *t, const uint8_t *packet, ssize_t size, int64_t at) {
    uint16_t seq;
    memcpy(&seq, packet + 2, 2);
    seq = ntohs(seq);
    received++;
    if (t->heard && (int16_t)(seq - t->last) > 1)
        missing += (int16_t)(seq - t->last) - 1;
    t->heard = 1;
    t->last = seq;
    for (int i = 12; i < size; i++) {
        if (abs(packet[i] - MAGIC) <= 1) {
            t->digits = 0;
            continue;
        }
        t->time = t->time << 4 | (int64_t)((packet[i] - DIGIT + STEP / 2) / STEP & 15);
        if (++t->digits != DIGITS)
            continue;
        int64_t delay = at - t->time + (i - 12 - (DIGITS - 1) - FIRST) * 125; /* it may stand elsewhere in a frame than before */
        if (!first_us)
            first_us = at;
        if (delay_count < DELAYS && delay >= 0 && delay < 10000000)
            delays[delay_count++] = (uint32_t)delay;
    }
}

static void receive(telephone *t) {
    uint8_t packet[2048];
    union {
        char space[64];
        struct cmsghdr align;
    } control;
    for (;;) {
        struct iovec part = {packet, sizeof(packet)};
        struct sockaddr_in from;
        struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1,
                                 .msg_control = control.space, .msg_controllen = sizeof(control.space)};
        ssize_t size = recvmsg(t->socket, &message, MSG_DONTWAIT);
        if (size < 0)
            return;
        t->remote = from;
        t->known = 1;
        struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
        struct timespec at = {0};
        if (stamp && stamp->cmsg_type == SCM_TIMESTAMPNS)
            memcpy(&at, CMSG_DATA(stamp), sizeof(at));
        if (size >= 12 && (packet[1] & 0x7f) == 0)
            take(t, packet, size, (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000);
    }
}

static void speak(telephone *t, uint32_t id) {
    uint8_t packet[12 + FRAME] = {0x80, 0};
    int64_t at = now_us(CLOCK_REALTIME);
    uint16_t seq = htons(t->seq++);
    uint32_t ts = htonl(t->ts);
    t->ts += FRAME;
    memcpy(packet + 2, &seq, 2);
    memcpy(packet + 4, &ts, 4);
    memcpy(packet + 8, &id, 4);
    memset(packet + 12, MAGIC, FRAME);
    for (int i = 0; i < DIGITS; i++)
        packet[12 + FIRST + i] = (uint8_t)(DIGIT + STEP * (at >> (60 - 4 * i) & 15));
    if (sendto(t->socket, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&t->remote, sizeof(t->remote)) > 0)
        sent++;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print(void) {
    qsort(delays, delay_count, sizeof(delays[0]), &by_size);
    double p50 = delay_count ? delays[delay_count / 2] / 1000.0 : -1, p99 = delay_count ? delays[delay_count * 99 / 100] / 1000.0 : -1;
    printf("{\"sent\": %ld, \"received\": %ld, \"missing\": %ld, \"delayed\": %zu, \"delay_p50_ms\": %.3f, \"delay_p99_ms\": %.3f, "
           "\"first_s\": %.6f}\n", sent, received, missing, delay_count, p50, p99, first_us / 1e6);
    fflush(stdout);
}

static int obey(void) {
    static char text[256];
    static size_t used;
    struct pollfd input = {0, POLLIN, 0};
    if (poll(&input, 1, 0) <= 0)
        return 1;
    ssize_t size = read(0, text + used, sizeof(text) - 1 - used);
    if (size <= 0)
        return 0;
    used += (size_t)size;
    text[used] = 0;
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
        if (strncmp(text, "end", 3) == 0)
            print();
        sent = received = missing = 0;
        delay_count = 0;
        first_us = 0;
        used -= (size_t)(end + 1 - text);
        memmove(text, end + 1, used + 1);
    }
    return 1;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 0, on = 1;
    if (count <= 0 || count > MAX)
        return 2;
    for (int i = 0; i < count; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        telephones[i].socket = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(telephones[i].socket, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
        socklen_t size = sizeof(at);
        if (bind(telephones[i].socket, (struct sockaddr *)&at, size) != 0 || getsockname(telephones[i].socket, (struct sockaddr *)&at, &size) != 0) {
            perror("bind");
            return 1;
        }
        printf("%d ", ntohs(at.sin_port));
    }
    puts("");
    fflush(stdout);
    int64_t tick = now_us(CLOCK_MONOTONIC);
    for (int slot = 0; obey(); slot = (slot + 1) % SLOTS) {
        for (int i = slot; i < count; i += SLOTS) {
            receive(&telephones[i]);
            if (telephones[i].known)
                speak(&telephones[i], (uint32_t)i);
        }
        tick += 20000 / SLOTS;
        int64_t left = tick - now_us(CLOCK_MONOTONIC);
        if (left > 0)
            usleep((useconds_t)left);
    }
    return 0;
}
