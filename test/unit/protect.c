// Watching writes by mprotect: which pages are shut, what a fault, a loan and a span's end do to
// them, and that the count of mappings is right. The kernel is asked by write(2) into the memory:
// EFAULT, where it is shut.
#include "protect.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spans.h"

enum { HW = 4096, SMALL = 100, MANY = 4000 };

static int faults;
static char *objects[MANY]; // SMALL bytes each
static uintptr_t lo, hi;

static bool ready(void)
{
    return true;
}

static void handler(int sig, siginfo_t *info, void *context)
{
    (void)context;
    faults++;
    if (!sv_protect_fault(info))
        signal(sig, SIG_DFL);
}

static void setup(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    spans_setup();
    sigfillset(&sa.sa_mask);
    sigaction(SIGSEGV, &sa, NULL);
    sv_protect_on = true;
    sv_protect_ready = ready;
    for (int i = 0; i < MANY; i++) {
        objects[i] = sv_heap_alloc(SMALL);
        memset(objects[i], 1, SMALL);
    }
    lo = sv_heap.base;
    hi = sv_heap.base + ((uintptr_t)sv_heap.grown << SV_PAGE_SHIFT);
    cr_assert_eq(sv_protect_open(-1), 0);
    faults = 0;
}

TestSuite(protect, .init = setup);

// Can the kernel write there? The byte stays what it is.
static bool kernel_writes(const char *p)
{
    int fd[2];
    char c = *p;
    cr_assert_eq(pipe(fd), 0);
    cr_assert_eq(write(fd[1], &c, 1), 1);
    ssize_t got = syscall(SYS_read, fd[0], p, 1);
    int err = errno;
    close(fd[0]);
    close(fd[1]);
    cr_assert(got == 1 || err == EFAULT);
    return got == 1;
}

struct told {
    const char *p;
    bool found;
    size_t pages;
};

static void tell(void *arg, uintptr_t from, uintptr_t to)
{
    struct told *t = arg;
    t->found |= (uintptr_t)t->p >= from && (uintptr_t)t->p < to;
    t->pages += (to - from) / HW;
}

static struct told written(const char *p, bool again)
{
    struct told t = {.p = p};
    cr_assert_eq(sv_protect_written(lo, hi, again, tell, &t), 0);
    return t;
}

// Mappings of the heap, but for the reserve above.
static size_t heap_mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    char line[512];
    size_t n = 0;
    while (fgets(line, sizeof line, file)) {
        unsigned long from, to;
        cr_assert_eq(sscanf(line, "%lx-%lx", &from, &to), 2);
        n += from >= lo && from < hi;
    }
    fclose(file);
    return n;
}

Test(protect, a_write_opens_one_page)
{
    char *p = objects[MANY / 2];
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    cr_assert_gt(sv_protect_shut(), MANY * SMALL / HW / 2);
    cr_assert_not(kernel_writes(p));
    cr_assert_not(written(p, false).found);
    size_t shut = sv_protect_shut(), edges = sv_protect_edges();
    *p = 2;
    cr_assert_eq(*p, 2);
    cr_assert_eq(faults, 1);
    cr_assert_eq(sv_protect_shut(), shut - 1);
    cr_assert_eq(sv_protect_edges(), edges + 2);
    cr_assert(kernel_writes(p));
    cr_assert(written(p, false).found);
    cr_assert(written(p, true).found); // and shuts it again
    cr_assert_eq(sv_protect_edges(), edges);
    cr_assert_not(kernel_writes(p));
    cr_assert_not(written(p, true).found);
    sv_protect_release(lo, hi);
    sv_protect_close();
    cr_assert_eq(sv_protect_shut(), 0);
    cr_assert_eq(sv_protect_edges(), 0);
    for (int i = 0; i < MANY; i++)
        cr_assert(kernel_writes(objects[i]));
    cr_assert_eq(faults, 1);
}

Test(protect, what_is_not_watched)
{
    char *kib = sv_heap_alloc(1024), *large = sv_heap_alloc(100000);
    char *noscan = sv_heap_alloc_noscan(SMALL);
    hi = sv_heap.base + ((uintptr_t)sv_heap.grown << SV_PAGE_SHIFT);
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    kib[0] = large[0] = noscan[0] = 1;
    cr_assert_eq(faults, 0);
    cr_assert(kernel_writes(kib) && kernel_writes(large) && kernel_writes(noscan));
    cr_assert(written(kib, true).found);
    cr_assert(written(kib, true).found);
    cr_assert(written(large, true).found);
    static char data[3 * HW];
    uintptr_t at = (uintptr_t)data;
    cr_assert_eq(sv_protect_watch(at, at + sizeof data), -ENOTSUP);
    struct told t = {.p = data};
    cr_assert_eq(sv_protect_written(at, at + sizeof data, true, tell, &t), 0);
    cr_assert_eq(t.pages, 3);
    sv_protect_close();
    cr_assert_eq(sv_protect_watch(lo, hi), -EBADF);
}

// What became a span after the watch was never shut, and so was written.
Test(protect, what_comes_later)
{
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    spans_phase(SV_PHASE_MARK);
    char *p = sv_heap_alloc(700);
    p[0] = 1;
    cr_assert(written(p, false).found);
    spans_phase(SV_PHASE_OFF);
    sv_protect_close();
}

Test(protect, the_program_s_fault_is_not_ours)
{
    static struct {
        _Alignas(HW) char page[HW];
    } own;
    siginfo_t info = {.si_code = SEGV_ACCERR};
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    info.si_addr = own.page;
    cr_assert_not(sv_protect_fault(&info));
    info.si_addr = (void *)(hi + HW);
    cr_assert_not(sv_protect_fault(&info));
    info.si_addr = objects[0];
    info.si_code = SEGV_MAPERR;
    cr_assert_not(sv_protect_fault(&info));
    info.si_code = SEGV_ACCERR;
    cr_assert(sv_protect_fault(&info));
    cr_assert(sv_protect_fault(&info), "another thread may have opened it");
    bool ours = true;
    for (int i = 0; i < 1000 && ours; i++)
        ours = sv_protect_fault(&info);
    cr_assert_not(ours, "a fault that stays");
    sv_protect_close();
}

Test(protect, a_loan_keeps_pages_open)
{
    char *p = objects[MANY / 2], *q = objects[MANY / 4];
    const volatile void *v[] = {p, NULL, &faults};
    struct sv_protect_lent two[2] = {0}; // as of a function and one that it calls
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    sv_protect_lend(&two[1], v, 3);
    cr_assert(kernel_writes(p) && !kernel_writes(q));
    cr_assert(written(p, true).found);
    cr_assert(kernel_writes(p));
    v[0] = q;
    sv_protect_lend(&two[0], v, 1);
    written(q, true);
    cr_assert(kernel_writes(p) && kernel_writes(q));
    sv_protect_lend_end(&two[0]);
    written(q, true);
    cr_assert(kernel_writes(p) && !kernel_writes(q));
    sv_protect_lend_end(&two[1]);
    cr_assert(written(p, true).found);
    cr_assert_not(kernel_writes(p));
    // what crosses into the next page
    char *end = (char *)(((uintptr_t)p & ~(uintptr_t)(HW - 1)) + HW);
    v[0] = end - 1;
    two[1].on = false;
    sv_protect_lend(&two[1], v, 1);
    cr_assert(kernel_writes(end - 1) && kernel_writes(end));
    sv_protect_lend_end(&two[1]);
    sv_protect_close();
    cr_assert_eq(faults, 0);
}

// A loan before the watch, and more loans than there is room for.
Test(protect, loans_of_all_kinds)
{
    char *p = objects[MANY / 2], *q = objects[MANY / 4];
    const volatile void *v[200];
    struct sv_protect_lent two[2] = {0}; // as of a function and one that it calls
    for (int i = 0; i < 200; i++)
        v[i] = p;
    sv_protect_lend(&two[1], v, 1);
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    cr_assert(kernel_writes(p) && !kernel_writes(q));
    sv_protect_lend(&two[0], v, 200);
    cr_assert(kernel_writes(q), "all of the heap is lent");
    written(p, true);
    cr_assert(kernel_writes(q));
    sv_protect_lend_end(&two[0]);
    written(p, true);
    cr_assert(kernel_writes(p) && !kernel_writes(q));
    sv_protect_lend_end(&two[1]);
    sv_protect_close();
}

__attribute__((noinline)) static void lend_and_leave(const volatile void *p)
{
    struct sv_protect_lent lent = {0};
    sv_protect_lend(&lent, &p, 1);
    __asm__ volatile("" ::"r"(&lent) : "memory");
}

static void *lend_and_end(void *p)
{
    lend_and_leave(p);
    sv_protect_thread_end();
    return NULL;
}

// A frame left by a jump lends until a frame above it lends, or its thread ends.
Test(protect, loans_left_behind)
{
    struct sv_protect_lent lent = {0};
    const volatile void *q = objects[0];
    char *p = objects[MANY / 2];
    pthread_t thread;
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    for (int i = 0; i < 1000; i++)
        lend_and_leave(p);
    written(p, true);
    cr_assert(kernel_writes(p));
    sv_protect_lend(&lent, &q, 1);
    sv_protect_lend_end(&lent);
    written(p, true);
    cr_assert_not(kernel_writes(p));
    cr_assert_eq(pthread_create(&thread, NULL, lend_and_end, p), 0);
    pthread_join(thread, NULL);
    written(p, true);
    cr_assert_not(kernel_writes(p));
    sv_protect_close();
}

// Pages given back are open before they serve for something else.
Test(protect, the_end_of_a_span)
{
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    size_t shut = sv_protect_shut();
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)objects[MANY / 2]);
    struct sv_span *span = sv_span_at(sv_pagemap_first(page, sv_pagemap_get(page)));
    page = (uint32_t)(span - sv_heap.spans);
    sv_pagemap_set(page, span->npages, 0);
    sv_protect_leave(page, span->npages);
    cr_assert_eq(sv_protect_shut(), shut - 2 * span->npages);
    cr_assert(kernel_writes(objects[MANY / 2]));
    written(objects[0], true);
    cr_assert(kernel_writes(objects[MANY / 2]));
    sv_protect_close();
}

Test(protect, a_forked_child)
{
    char *p = objects[MANY / 2];
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    int pid = fork(), status;
    if (pid == 0) {
        *p = 3; // before any handler of fork
        sv_protect_fork_child();
        for (int i = 0; i < MANY; i++)
            cr_assert(kernel_writes(objects[i]));
        cr_assert_eq(sv_protect_shut(), 0);
        cr_assert_eq(faults, 1);
        cr_assert_eq(sv_protect_open(-1), 0);
        cr_assert_eq(sv_protect_watch(lo, hi), 0);
        *p = 4;
        cr_assert_eq(faults, 2);
        _exit(0);
    }
    cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
    cr_assert_not(kernel_writes(p), "the parent's page");
    sv_protect_close();
}

// The count of borders is the kernel's count of mappings, and it has a bound.
Test(protect, mappings)
{
    enum { PAGES = 60000 };
    static char *first[PAGES];
    uintptr_t last = 0;
    size_t n = 0;
    while (n < PAGES) {
        char *p = sv_heap_alloc(500);
        *p = 1;
        if ((uintptr_t)p / HW != last)
            first[n++] = p;
        last = (uintptr_t)p / HW;
    }
    hi = sv_heap.base + ((uintptr_t)sv_heap.grown << SV_PAGE_SHIFT);
    size_t before = heap_mappings();
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    for (size_t i = 0; i < 2000; i += 2)
        *first[i] = 2;
    cr_assert_eq(heap_mappings(), before + sv_protect_edges());
    for (size_t i = 2000; i < PAGES; i += 2)
        *first[i] = 2;
    cr_assert_leq(sv_protect_edges(), 32768 + 2);
    cr_assert_lt(faults, PAGES / 2);
    cr_assert_eq(heap_mappings(), before + sv_protect_edges());
    for (size_t i = 0; i < PAGES; i += 2)
        cr_assert(written(first[0], false).found);
    sv_protect_close();
    cr_assert_eq(heap_mappings(), before);
}

// Threads that write everywhere while pages are shut again and again: each write is told once more.
static _Atomic bool over;
static _Atomic unsigned stores[8];

static void *writer(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; !over; i++) {
        unsigned at = (i * 37 + me * 501) % MANY;
        objects[at][me] = (char)i;
        stores[me]++;
    }
    return NULL;
}

Test(protect, threads_write_while_it_watches)
{
    pthread_t threads[4];
    cr_assert_eq(sv_protect_watch(lo, hi), 0);
    for (uintptr_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
    for (int i = 0; i < 300 || !(stores[0] && stores[1] && stores[2] && stores[3]); i++) {
        const volatile void *v[] = {objects[i % MANY]};
        struct sv_protect_lent lent = {0};
        sv_protect_lend(&lent, v, 1);
        written(objects[i % MANY], true);
        cr_assert(kernel_writes(objects[i % MANY]));
        sv_protect_lend_end(&lent);
    }
    over = true;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    written(objects[0], true);
    for (int i = 0; i < MANY; i++) // the bit and the protection say the same
        cr_assert_neq(kernel_writes(objects[i]), !written(objects[i], false).found);
    sv_protect_close();
    cr_assert_eq(sv_protect_shut(), 0);
    cr_assert_eq(sv_protect_edges(), 0);
}
