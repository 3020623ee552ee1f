// How much processor time marking may take. Go gives the background 25 % of the processors, and
// idle ones on top. Threads of a process can't see whether a processor is idle, but the kernel
// tells each how long it was kept waiting (schedstat): a driver that never waits uses processors
// that nobody else wants, and goes on; one that waits takes turns with the program, and then keeps
// to its share by sleeping. Without schedstat it always keeps to its share.
#include "share.h"

#include <fcntl.h>

#include "os.h"
#include "scanners.h"
#include "worker.h"

#define WINDOW_NS 2000000u // between two looks
#define WAITED_MIN 16u     // one part in so many of a window: less is no contention
#define NAP_MAX_NS 4000000u

static struct { // the driver alone
    int fd;     // its schedstat, or -1
    double share;
    uint64_t wall; // when the window began, ns
    uint64_t run;  // processor time of this thread then
    uint64_t wait; // time it had waited for a processor then
} share = {.fd = -1};

// The second number of schedstat: ns on a run queue. False: not to be had.
static bool waited_read(uint64_t *ns)
{
    char text[96];
    if (share.fd < 0 || sv_os_seek(share.fd, 0) < 0)
        return false;
    long n = sv_os_read(share.fd, text, sizeof text - 1);
    long at = 0;
    while (at < n && text[at] != ' ')
        at++;
    uint64_t v = 0;
    for (at++; at < n && text[at] >= '0' && text[at] <= '9'; at++)
        v = v * 10 + (uint64_t)(text[at] - '0');
    *ns = v;
    return n > 0;
}

static void window_begin(void)
{
    share.wall = sv_os_now();
    share.run = sv_os_cpu_thread();
    waited_read(&share.wait);
}

void sv_share_begin(int procfd, double part)
{
    share.fd = sv_proc_file(procfd, "thread-self/schedstat", O_RDONLY);
    share.share = part < 1 ? part : 1;
    window_begin();
}

void sv_share_end(void)
{
    if (share.fd >= 0)
        sv_os_close(share.fd);
    share.fd = -1;
}

void sv_share_nap(void)
{
    uint64_t wall = sv_os_now() - share.wall;
    if (wall < WINDOW_NS)
        return;
    uint64_t wait;
    bool contended = !waited_read(&wait) || wait - share.wait > wall / WAITED_MIN;
    double should = (double)(sv_os_cpu_thread() - share.run) / share.share; // wall time it is worth
    if (contended && should > (double)wall) {
        double nap = should - (double)wall;
        sv_worker_sleep(sv_worker_seen(), nap < NAP_MAX_NS ? (uint64_t)nap : NAP_MAX_NS);
    }
    window_begin();
}
