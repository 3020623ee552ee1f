// Places where the only reference to an object can stand: as long as it stands there, nothing is
// lost; when it has been taken away, the object is. Every place is a case twice, `held:NAME` and
// `lost:NAME`. The places are those of docs/roots.md, and the ways to hide a pointer beside them.
#define _GNU_SOURCE
#include "corpus.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <search.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096
#define SIZE 4242

struct place {
    const char *name;
    void (*put)(void *p);
    void (*drop)(void);  // NULL: the reference can't be taken away
    const char *options; // NULL: none
    const char *truth;   // after `drop`, when it isn't one lost object; a `hidden` one isn't held
};

// volatile: the compiler would drop a store to what nobody reads.
static volatile uintptr_t bss_word, data_word = 1;
static void *volatile word;

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            perror(#condition);                                                                    \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

// ---- data --------------------------------------------------------------------------------------

static void bss_put(void *p)
{
    bss_word = (uintptr_t)p;
}
static void bss_drop(void)
{
    bss_word = 0;
}
static void data_put(void *p)
{
    data_word = (uintptr_t)p;
}
static void data_drop(void)
{
    data_word = 1;
}
static void local_static(void *p)
{
    static void *here;
    here = p;
    corpus_use(&here);
}
static void local_static_put(void *p)
{
    local_static(p);
}
static void local_static_drop(void)
{
    local_static(NULL);
}

static _Alignas(PAGE) volatile uintptr_t sealed[PAGE / sizeof(uintptr_t)] = {1};

static void sealed_put(void *p)
{
    sealed[17] = (uintptr_t)p;
    NEED(mprotect((void *)sealed, PAGE, PROT_READ) == 0);
}
static void sealed_drop(void)
{
    NEED(mprotect((void *)sealed, PAGE, PROT_READ | PROT_WRITE) == 0);
    sealed[17] = 0;
}

// ---- words that are not the address itself -----------------------------------------------------

static void tag1_put(void *p)
{
    bss_word = (uintptr_t)p | 1;
}
static void tag7_put(void *p)
{
    bss_word = (uintptr_t)p | 7;
}
static void interior_put(void *p)
{
    bss_word = (uintptr_t)p + 2000;
}
static void last_byte_put(void *p)
{
    bss_word = (uintptr_t)p + SIZE - 1;
}
static void past_end_put(void *p)
{
    bss_word = (uintptr_t)p + SIZE;
}
static void tag60_put(void *p)
{
    bss_word = (uintptr_t)p | (uintptr_t)1 << 60;
}
static void tag48_put(void *p)
{
    bss_word = (uintptr_t)p | (uintptr_t)0xbeef << 48;
}

static volatile struct __attribute__((packed)) {
    char c[3];
    void *p;
} packed;

static void packed_put(void *p)
{
    packed.p = p;
}
static void packed_drop(void)
{
    packed.p = NULL;
}

static volatile struct __attribute__((packed, aligned(4))) {
    char c[4];
    void *p;
} halved;

static void halved_put(void *p)
{
    halved.p = p;
}
static void halved_drop(void)
{
    halved.p = NULL;
}

// ---- the heap ----------------------------------------------------------------------------------

static void heap_put(void *p)
{
    void **cell = corpus_make(64);
    cell[5] = p;
    word = cell;
}
static void heap_drop(void)
{
    ((void **)word)[5] = NULL;
}
static void heap_large_put(void *p)
{
    void **cells = calloc(400000, sizeof *cells);
    NEED(cells);
    cells[399999] = p;
    word = cells;
}
static void heap_large_drop(void)
{
    ((void **)word)[399999] = NULL;
}

static int address_compare(const void *a, const void *b)
{
    return (a > b) - (a < b);
}

static void *tree;

static void tree_put(void *p)
{
    NEED(tsearch(p, &tree, address_compare));
}
static void tree_drop(void)
{
    tdelete(*(void **)tree, &tree, address_compare);
}
static void hash_put(void *p)
{
    NEED(hcreate(10));
    NEED(hsearch((ENTRY){"a key", p}, ENTER));
}
static void hash_drop(void)
{
    hsearch((ENTRY){"a key", NULL}, FIND)->data = NULL;
}

// ---- mappings ----------------------------------------------------------------------------------

static void *volatile *map;

static void map_put(int flags, int fd, void *p)
{
    map = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    NEED(map != MAP_FAILED);
    map[1000] = p;
}
static void map_drop(void)
{
    map[1000] = NULL;
}
static void map_gone(void)
{
    munmap((void *)map, 64 * PAGE);
}
static void map_private_put(void *p)
{
    map_put(MAP_PRIVATE | MAP_ANONYMOUS, -1, p);
}
static void map_shared_put(void *p)
{
    map_put(MAP_SHARED | MAP_ANONYMOUS, -1, p);
}
static void memfd_put(void *p)
{
    int fd = memfd_create("corpus", MFD_CLOEXEC);
    NEED(fd >= 0 && ftruncate(fd, 64 * PAGE) == 0);
    map_put(MAP_SHARED, fd, p);
    close(fd);
}
static void file_put(void *p)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    NEED(fd >= 0);
    map_put(MAP_PRIVATE, fd, NULL);
    close(fd);
    map[10] = p;
}
static void file_drop(void)
{
    map[10] = NULL;
}
static void map_read_put(void *p)
{
    map_private_put(p);
    NEED(mprotect((void *)map, 64 * PAGE, PROT_READ) == 0);
}
static void map_none_put(void *p)
{
    map_private_put(p);
    NEED(mprotect((void *)map, 64 * PAGE, PROT_NONE) == 0);
}
static void map_open_drop(void)
{
    NEED(mprotect((void *)map, 64 * PAGE, PROT_READ | PROT_WRITE) == 0);
    map[1000] = NULL;
}
static void moved_put(void *p)
{
    map_private_put(p);
    map = mremap((void *)map, 64 * PAGE, 9000 * PAGE, MREMAP_MAYMOVE);
    NEED(map != MAP_FAILED);
}
static void sbrk_put(void *p)
{
    map = sbrk(64 * PAGE);
    NEED((intptr_t)map != -1);
    map[1000] = p;
}
static void sysv_put(void *p)
{
    int id = shmget(IPC_PRIVATE, 64 * PAGE, IPC_CREAT | 0600);
    NEED(id >= 0);
    map = shmat(id, NULL, 0);
    NEED((intptr_t)map != -1);
    shmctl(id, IPC_RMID, NULL);
    map[1000] = p;
}

// What holds nothing any more goes on with other work, as programs do.
static void other_work(void)
{
    char text[256];
    snprintf(text, sizeof text, "%.3f of %d", 2.5, 100);
    corpus_use(text);
}

// ---- threads -----------------------------------------------------------------------------------

// A thread takes what lies in the mailbox, works as told, and waits for a second word of main's.
static void *mailbox;
static sem_t taken, drop_now, dropped, never;
static bool thread_ends;

static void *mailbox_take(void)
{
    void *p = mailbox;
    mailbox = NULL;
    return p;
}

static void thread_wait(sem_t *s)
{
    while (sem_wait(s))
        ;
}

// Blocks in `work`'s frame until main says drop, and for ever after it.
static void thread_hold(void)
{
    sem_post(&taken);
    thread_wait(&drop_now);
}

static void thread_dropped(void)
{
    other_work();
    sem_post(&dropped);
    if (!thread_ends)
        thread_wait(&never);
}

static pthread_t worker;

static void thread_put(void *(*work)(void *), const pthread_attr_t *attributes, void *p)
{
    mailbox = p;
    NEED(pthread_create(&worker, attributes, work, NULL) == 0);
    thread_wait(&taken);
}

static void thread_drop(void)
{
    sem_post(&drop_now);
    thread_wait(&dropped);
}

static void thread_join(void)
{
    thread_ends = true;
    thread_drop();
    pthread_join(worker, NULL);
}

static _Thread_local void *volatile tls_word;

static void tls_put(void *p)
{
    tls_word = p;
}
static void tls_drop(void)
{
    tls_word = NULL;
}

static void *tls_work(void *unused)
{
    tls_word = mailbox_take();
    thread_hold();
    if (!thread_ends)
        tls_word = NULL;
    thread_dropped();
    return unused;
}
static void thread_tls_put(void *p)
{
    thread_put(tls_work, NULL, p);
}

static pthread_key_t key;

static void *key_work(void *unused)
{
    pthread_setspecific(key, mailbox_take());
    thread_hold();
    if (!thread_ends)
        pthread_setspecific(key, NULL);
    thread_dropped();
    return unused;
}
static void key_put(void *p)
{
    NEED(pthread_key_create(&key, NULL) == 0);
    pthread_setspecific(key, p);
}
static void key_drop(void)
{
    pthread_setspecific(key, NULL);
}
static void thread_key_put(void *p)
{
    NEED(pthread_key_create(&key, NULL) == 0);
    thread_put(key_work, NULL, p);
}
// Beyond the first 32 keys they are in a heap block of their own.
static void key_late_put(void *p)
{
    for (int i = 0; i < 40; i++)
        NEED(pthread_key_create(&key, NULL) == 0);
    thread_put(key_work, NULL, p);
}

static void *stack_work(void *unused)
{
    // what the collector reads; NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores)
    void *volatile mine = mailbox_take();
    thread_hold();
    mine = NULL;
    corpus_use(mine);
    thread_dropped();
    return unused;
}
static void thread_stack_put(void *p)
{
    thread_put(stack_work, NULL, p);
}

static void attributes_put(void *stack, size_t size, void *p)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    NEED(pthread_attr_setstack(&attributes, stack, size) == 0);
    thread_put(stack_work, &attributes, p);
    pthread_attr_destroy(&attributes);
}
static void own_stack_put(void *p)
{
    void *stack = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(stack != MAP_FAILED);
    attributes_put(stack, 1 << 20, p);
}
static void heap_stack_put(void *p)
{
    void *stack = NULL;
    NEED(posix_memalign(&stack, PAGE, 1 << 20) == 0);
    attributes_put(stack, 1 << 20, p);
}

// A loop that never calls: the pointer is in a register and nowhere else.
static _Atomic bool spinning, spin_end;
static void *register_work(void *unused)
{
    register void *mine = mailbox_take();
    __asm__ volatile("movb $1, %1\n"
                     "1: pause\n"
                     "cmpb $0, %2\n"
                     "je 1b\n"
                     : "+r"(mine), "=m"(spinning)
                     : "m"(spin_end));
    __asm__ volatile("xor %0, %0" : "+r"(mine));
    thread_dropped();
    return unused;
}
static void register_put(void *p)
{
    mailbox = p;
    NEED(pthread_create(&worker, NULL, register_work, NULL) == 0);
    while (!spinning)
        sched_yield();
}
static void register_drop(void)
{
    spin_end = true;
    thread_wait(&dropped);
}

static void argument_put(void *p)
{
    NEED(pthread_create(&worker, NULL, stack_work, p) == 0);
    thread_wait(&taken);
}

// ---- libraries ---------------------------------------------------------------------------------

static void *library;

static void library_open(void)
{
    library = dlopen(getenv("CORPUS_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        _exit(99);
    }
}
static void library_put(void *p)
{
    library_open();
    *(void **)dlsym(library, "library_word") = p;
}
static void library_drop(void)
{
    *(void **)dlsym(library, "library_word") = NULL;
}
static void library_close(void)
{
    dlclose(library);
}

// ---- coroutines --------------------------------------------------------------------------------

static ucontext_t outside, inside;

static void coroutine(void)
{
    // what the collector reads; NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores)
    void *volatile mine = mailbox_take();
    swapcontext(&inside, &outside);
    mine = NULL;
    corpus_use(mine);
    other_work();
    swapcontext(&inside, &outside);
}
static void coroutine_start(void *stack, size_t size, void *p)
{
    mailbox = p;
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = size;
    inside.uc_link = NULL;
    makecontext(&inside, coroutine, 0);
    swapcontext(&outside, &inside);
}
static void coroutine_drop(void)
{
    swapcontext(&outside, &inside);
}
static void coroutine_heap_put(void *p)
{
    static void *stack;
    stack = corpus_make(65536);
    coroutine_start(stack, 65536, p);
}
static void coroutine_map_put(void *p)
{
    void *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(stack != MAP_FAILED);
    coroutine_start(stack, 65536, p);
}

// ---- the kernel and libc -----------------------------------------------------------------------

static int epoll_fd, watched;

static void epoll_put(void *p)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
    int fd[2];
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    NEED(epoll_fd >= 0 && pipe(fd) == 0);
    watched = fd[0];
    NEED(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, watched, &event) == 0);
    memset(&event, 0, sizeof event);
    corpus_use(&event);
}
static void epoll_drop(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    NEED(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, watched, &event) == 0);
}
static void epoll_closed(void)
{
    close(epoll_fd);
}

static timer_t timer;

static void timer_put(void *p)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    event.sigev_value.sival_ptr = p;
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    memset(&event, 0, sizeof event);
    corpus_use(&event);
}
static void timer_drop(void)
{
    timer_delete(timer);
}

static void queued_put(void *p)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    NEED(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_ptr = p}) == 0);
}
static void queued_drop(void)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    NEED(sigwaitinfo(&set, &info) == SIGUSR2);
    memset(&info, 0, sizeof info);
    corpus_use(&info);
}

static void alternate_put(void *p)
{
    stack_t stack = {.ss_sp = realloc(p, 65536), .ss_size = 65536};
    NEED(sigaltstack(&stack, NULL) == 0);
    memset(&stack, 0, sizeof stack);
    corpus_use(&stack);
}

static void putenv_put(void *p)
{
    putenv(strcpy(p, "CORPUS=held"));
}
static void putenv_drop(void)
{
    unsetenv("CORPUS");
}
static void setvbuf_put(void *p)
{
    setvbuf(stdout, p, _IOFBF, SIZE);
}
static void on_exit_run(int status, void *p)
{
    (void)status;
    corpus_use(p);
}
static void on_exit_put(void *p)
{
    on_exit(on_exit_run, p);
}
static void stream_put(void *p)
{
    FILE *null = fopen("/dev/null", "w");
    NEED(null);
    setvbuf(null, p, _IOFBF, SIZE);
    fputs("text", null);
    // libc's list of open streams holds the stream, which holds the buffer
}

// Held by what the program does later: taken back and freed, so that it was never lost.
static int pipe_fd[2];
static uintptr_t inverted;

int salvage_leak_check(void) __attribute__((weak));

static void check_now(void)
{
    if (salvage_leak_check)
        salvage_leak_check();
}
static void pipe_put(void *p)
{
    NEED(pipe(pipe_fd) == 0 && write(pipe_fd[1], &p, sizeof p) == sizeof p);
}
static void pipe_take(void)
{
    void *p = NULL;
    check_now();
    NEED(read(pipe_fd[0], &p, sizeof p) == sizeof p);
    free(p);
}
static void xor_put(void *p)
{
    inverted = ~(uintptr_t)p;
}
static void xor_take(void)
{
    check_now();
    free((void *)~inverted);
}

static const struct place places[] = {
    {"bss", bss_put, bss_drop, NULL, NULL},
    {"data", data_put, data_drop, NULL, NULL},
    {"local-static", local_static_put, local_static_drop, NULL, NULL},
    {"sealed-data", sealed_put, sealed_drop, NULL, NULL},
    {"tag1", tag1_put, bss_drop, NULL, NULL},
    {"tag7", tag7_put, bss_drop, NULL, NULL},
    {"interior", interior_put, bss_drop, NULL, NULL},
    {"last-byte", last_byte_put, bss_drop, NULL, NULL},
    {"past-end", past_end_put, bss_drop, NULL, NULL},
    {"tag60", tag60_put, bss_drop, "tagbits=16", NULL},
    {"tag48", tag48_put, bss_drop, "tagbits=16", NULL},
    {"packed3", packed_put, packed_drop, "align=1", NULL},
    {"packed4", halved_put, halved_drop, NULL, NULL},
    {"heap", heap_put, heap_drop, NULL, NULL},
    {"heap-large", heap_large_put, heap_large_drop, NULL, NULL},
    {"tsearch", tree_put, tree_drop, NULL, NULL},
    {"hsearch", hash_put, hash_drop, NULL, NULL},
    {"map-private", map_private_put, map_drop, NULL, NULL},
    {"map-shared", map_shared_put, map_drop, NULL, NULL},
    {"map-unmapped", map_private_put, map_gone, NULL, NULL},
    {"map-memfd", memfd_put, map_drop, NULL, NULL},
    {"map-file", file_put, file_drop, NULL, NULL},
    {"map-read", map_read_put, map_open_drop, NULL, NULL},
    {"map-none", map_none_put, map_open_drop, NULL, NULL},
    {"map-moved", moved_put, map_drop, NULL, NULL},
    {"sbrk", sbrk_put, map_drop, NULL, NULL},
    {"sysv", sysv_put, map_drop, NULL, NULL},
    {"tls", tls_put, tls_drop, NULL, NULL},
    {"thread-tls", thread_tls_put, thread_drop, NULL, NULL},
    {"thread-tls-ended", thread_tls_put, thread_join, NULL, NULL},
    {"key", key_put, key_drop, NULL, NULL},
    {"thread-key", thread_key_put, thread_drop, NULL, NULL},
    {"thread-key-ended", thread_key_put, thread_join, NULL, NULL},
    {"thread-key-late", key_late_put, thread_drop, NULL, NULL},
    {"thread-stack", thread_stack_put, thread_drop, NULL, NULL},
    {"thread-stack-ended", thread_stack_put, thread_join, NULL, NULL},
    {"thread-own-stack", own_stack_put, thread_drop, NULL, NULL},
    {"thread-heap-stack", heap_stack_put, thread_drop, NULL, NULL},
    {"thread-register", register_put, register_drop, NULL, NULL},
    {"thread-argument", argument_put, thread_join, NULL, "none, missed 1x4242"},
    {"library", library_put, library_drop, NULL, NULL},
    {"library-closed", library_put, library_close, NULL, NULL},
    {"coroutine-heap", coroutine_heap_put, coroutine_drop, NULL, NULL},
    {"coroutine-map", coroutine_map_put, coroutine_drop, NULL, NULL},
    {"epoll", epoll_put, epoll_drop, NULL, NULL},
    {"epoll-closed", epoll_put, epoll_closed, NULL, "none, missed 1x4242"},
    {"timer", timer_put, timer_drop, NULL, NULL},
    {"sigqueue", queued_put, queued_drop, NULL, "none, missed 1x4242"},
    {"sigaltstack", alternate_put, NULL, NULL, NULL},
    {"putenv", putenv_put, putenv_drop, NULL, NULL},
    {"setvbuf", setvbuf_put, NULL, NULL, NULL},
    {"on_exit", on_exit_put, NULL, NULL, NULL},
    {"stream", stream_put, NULL, NULL, NULL},
    {"pipe", pipe_put, pipe_take, NULL, "none, hidden 1x4242"},
    {"xor", xor_put, xor_take, NULL, "none, hidden 1x4242"},
};
#define PLACES (sizeof places / sizeof *places)

static corpus_noinline void place_put(const struct place *place)
{
    place->put(corpus_make(SIZE));
}

static int list(void)
{
    for (size_t i = 0; i < PLACES; i++) {
        const char *options = places[i].options ? places[i].options : "-";
        const char *truth = places[i].truth ? places[i].truth : "direct 1x4242";
        if (!strstr(truth, "hidden"))
            printf("held:%s\t%s\tnone\n", places[i].name, options);
        if (places[i].drop)
            printf("lost:%s\t%s\t%s\n", places[i].name, options, truth);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return list();
    sem_init(&taken, 0, 0);
    sem_init(&drop_now, 0, 0);
    sem_init(&dropped, 0, 0);
    sem_init(&never, 0, 0);
    for (size_t i = 0; i < PLACES; i++)
        if (strcmp(argv[1] + 5, places[i].name) == 0) {
            place_put(&places[i]);
            if (strncmp(argv[1], "lost:", 5) == 0)
                places[i].drop();
            return 0;
        }
    fprintf(stderr, "%s: no place %s\n", argv[0], argv[1]);
    return 2;
}
