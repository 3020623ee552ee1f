// The barriers, as tables over scanners' write tracking and over protect.c, and the choice among
// them.
#include "barrier.h"

#include <errno.h>

#include "options.h"
#include "os.h"
#include "protect.h"
#include "text.h"
#include "track.h"
#include "worker.h"

static struct sv_track track = {.arm_fd = -1, .pagemap_fd = -1}; // cycle lock

static int uffd_open(int procfd)
{
    int err = sv_track_open(&track, SV_TRACK_UFFD, procfd);
    track.private = err == 0 && sv_worker_private(); // its descriptors needn't be looked at again
    return err;
}

static int softdirty_open(int procfd)
{
    int err = sv_track_open(&track, SV_TRACK_SOFTDIRTY, procfd);
    track.private = err == 0 && sv_worker_private();
    return err;
}

static int track_watch(uintptr_t lo, uintptr_t hi)
{
    return sv_track_watch(&track, lo, hi);
}

static void track_dense(uintptr_t lo, uintptr_t hi)
{
    sv_track_dense(&track, lo, hi);
}

static int track_written(uintptr_t lo, uintptr_t hi, bool again, sv_range_fn *fn, void *arg)
{
    return sv_track_written(&track, lo, hi, again, fn, arg);
}

static void track_release(uintptr_t lo, uintptr_t hi)
{
    sv_track_release(&track, lo, hi);
}

static void track_close(void)
{
    sv_track_close(&track);
}

static int stw_open(int procfd)
{
    (void)procfd;
    return 0;
}

static int stw_watch(uintptr_t lo, uintptr_t hi)
{
    (void)lo;
    (void)hi;
    return 0;
}

static void stw_dense(uintptr_t lo, uintptr_t hi)
{
    (void)lo;
    (void)hi;
}

static int stw_written(uintptr_t lo, uintptr_t hi, bool again, sv_range_fn *fn, void *arg)
{
    (void)lo;
    (void)hi;
    (void)again;
    (void)fn;
    (void)arg;
    return 0;
}

static void stw_release(uintptr_t lo, uintptr_t hi)
{
    (void)lo;
    (void)hi;
}

static void stw_close(void)
{
}

static const struct sv_barrier uffd = {.name = "uffd",
                                       .concurrent = true,
                                       .rounds = true,
                                       .open = uffd_open,
                                       .watch = track_watch,
                                       .dense = track_dense,
                                       .written = track_written,
                                       .release = track_release,
                                       .close = track_close};

static const struct sv_barrier softdirty = {.name = "softdirty",
                                            .concurrent = true,
                                            .open = softdirty_open,
                                            .watch = track_watch,
                                            .dense = track_dense,
                                            .written = track_written,
                                            .release = track_release,
                                            .close = track_close};

static const struct sv_barrier protect = {.name = "mprotect",
                                          .concurrent = true,
                                          .rounds = true,
                                          .open = sv_protect_open,
                                          .watch = sv_protect_watch,
                                          .dense = stw_dense,
                                          .written = sv_protect_written,
                                          .release = sv_protect_release,
                                          .close = sv_protect_close};

const struct sv_barrier sv_barrier_stw = {.name = "stw",
                                          .open = stw_open,
                                          .watch = stw_watch,
                                          .dense = stw_dense,
                                          .written = stw_written,
                                          .release = stw_release,
                                          .close = stw_close};

// ---- the choice ---------------------------------------------------------------------------------

static struct {
    const struct sv_barrier *barrier; // cycle lock; NULL: not chosen yet
    int pid;                          // cycle lock: the process that chose
    bool said;                        // cycle lock: the line about what can't be had was written
} choice;

static int barrier_try(const struct sv_barrier *barrier, int procfd)
{
    int err = barrier->open(procfd);
    if (err == 0)
        barrier->close();
    return err;
}

// For want of something that may be there again at the next cycle.
static bool error_passing(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -EBADF;
}

static const char *error_text(int err)
{
    static const struct {
        int err;
        const char *text;
    } texts[] = {{-ENOTSUP, "the kernel can't do it"}, {-ENOSYS, "the kernel has no such call"},
                 {-ENOENT, "the kernel has no file"},  {-EPERM, "not permitted"},
                 {-EACCES, "no access to /proc"},      {-EBUSY, "SIGSEGV has another handler"},
                 {-EMFILE, "too many open files"}};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].err == err)
            return texts[i].text;
    return "an unexpected error";
}

static void refusal_say(const char *name, const char *reason)
{
    if (!choice.said)
        sv_log("salvage: barrier=%s can't be had here (%s); the world is stopped for the mark",
               name, reason);
    choice.said = true;
}

const struct sv_barrier *sv_barrier_choose(int procfd)
{
    static const struct {
        enum sv_barrier_kind kind;
        const struct sv_barrier *barrier;
        bool asked;                              // only on request
    } ways[] = {{SV_BARRIER_UFFD, &uffd, false}, // best first
                {SV_BARRIER_SOFTDIRTY, &softdirty, false},
                {SV_BARRIER_MPROTECT, &protect, true}};
    const struct sv_barrier *barrier = NULL;
    enum sv_barrier_kind kind = sv_options.barrier;
    int pid = sv_os_getpid();
    bool passing = false;
    if (choice.barrier && choice.pid == pid)
        return choice.barrier;
    for (unsigned i = 0; i < sizeof ways / sizeof *ways && !barrier; i++) {
        if (kind != ways[i].kind && (kind != SV_BARRIER_AUTO || ways[i].asked))
            continue;
        int err = barrier_try(ways[i].barrier, procfd);
        if (err == 0)
            barrier = ways[i].barrier;
        else if (kind != SV_BARRIER_AUTO)
            refusal_say(ways[i].barrier->name, error_text(err));
        passing |= error_passing(err);
    }
    barrier = barrier ? barrier : &sv_barrier_stw;
    choice.barrier = passing ? NULL : barrier;
    choice.pid = pid;
    return barrier;
}
