// Every place of a process's own memory that can hold the only pointer to an object: what stands
// there must keep the object, with nothing else to help (lib/witness.h says how a case works).
// Places in the kernel, in dlopen'ed libraries, on coroutine stacks and in vector registers have
// files of their own: rootskernel, rootsdl, coroutines, registers.
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: stress=64,clobber=1

#include "lib/witness.h"

#include <fcntl.h>
#include <search.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <threads.h>

#define PAGE 4096

extern char **environ;

static char **args; // main's argv

// ---- data and bss ------------------------------------------------------------------------------

static uintptr_t data_word = 1;
static uintptr_t bss_word;
uintptr_t global_word;

static void data_hold(void)
{
    witness_put(&data_word);
}
static void data_drop(void)
{
    data_word = 1;
}
static void bss_hold(void)
{
    witness_put(&bss_word);
}
static void bss_drop(void)
{
    bss_word = 0;
}
static void global_hold(void)
{
    witness_put(&global_word);
}
static void global_drop(void)
{
    global_word = 0;
}

// A page of .data that the program makes read-only after it wrote there.
static _Alignas(PAGE) uintptr_t sealed[PAGE / sizeof(uintptr_t)] = {1};

static void sealed_hold(void)
{
    witness_put(&sealed[17]);
    WITNESS_NEED(mprotect(sealed, PAGE, PROT_READ) == 0, "mprotect");
}

static void sealed_drop(void)
{
    mprotect(sealed, PAGE, PROT_READ | PROT_WRITE);
    sealed[17] = 0;
}

static void sealed_none_hold(void)
{
    witness_put(&sealed[17]);
    WITNESS_NEED(mprotect(sealed, PAGE, PROT_NONE) == 0, "mprotect");
}

// ---- tagged and interior pointers --------------------------------------------------------------

static void tag1_hold(void)
{
    witness_put_of(&witness, &global_word, 1);
}
static void tag7_hold(void)
{
    witness_put_of(&witness, &global_word, 7);
}
static void interior_hold(void)
{
    witness_put_of(&witness, &global_word, 2000);
}
static void last_byte_hold(void)
{
    witness_put_of(&witness, &global_word, (ptrdiff_t)witness.size - 1);
}

static void past_end_hold(void)
{
    witness_put_of(&witness, &global_word, (ptrdiff_t)witness.size);
}

// ---- the heap ----------------------------------------------------------------------------------

static void **volatile chain;
static uintptr_t *volatile array;

static void chain_hold(void)
{
    void **node = NULL;
    for (int i = 0; i < 100; i++) {
        void **next = malloc(64);
        if (i == 0)
            witness_put(&next[5]);
        else
            next[5] = node;
        node = next;
    }
    chain = node;
}

static void chain_drop(void)
{
    chain = NULL;
}

// In a large object's last word, behind an interior pointer to its middle.
static void array_hold(void)
{
    size_t n = (3 << 20) / sizeof *array;
    uintptr_t *v = calloc(n, sizeof *v);
    WITNESS_NEED(v != NULL, "calloc");
    witness_put(&v[n - 1]);
    array = v + n / 2;
}

static void array_drop(void)
{
    array = NULL;
}

// At no multiple of 8: in the middle of a large object, across the border of the 128 KiB pieces
// that large objects are scanned in, and at such a place of an object that is small.
static void packed_put(size_t bytes, size_t offset)
{
    char *p = calloc(1, bytes);
    WITNESS_NEED(p != NULL, "calloc");
    witness_put(p + offset);
    array = (uintptr_t *)p;
}

static void packed_small_hold(void)
{
    packed_put(100, 12);
}

static void packed_large_hold(void)
{
    packed_put(1 << 20, (300 << 10) + 4);
}

static void packed_border_hold(void)
{
    packed_put(1 << 20, (128 << 10) - 4);
}

static void packed_medium_border_hold(void)
{
    packed_put(600 << 10, (256 << 10) - 4);
}

// In the program's own mapping, across two hardware pages, and in code that it generated: anywhere.
static char *mapped;

static void mapped_put(size_t offset, int protection)
{
    mapped = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WITNESS_NEED(mapped != MAP_FAILED, "mmap");
    witness_put(mapped + offset);
    WITNESS_NEED(mprotect(mapped, 16384, protection) == 0, "mprotect");
}

static void packed_mapped_hold(void)
{
    mapped_put(8192 - 4, PROT_READ | PROT_WRITE);
}

static void code_hold(void)
{
    mapped_put(4096 + 13, PROT_READ | PROT_EXEC);
}

static void code_unreadable_hold(void)
{
    mapped_put(4096 + 13, PROT_NONE);
}

static void mapped_drop(void)
{
    munmap(mapped, 16384);
}

static void realloc_hold(void)
{
    array = calloc(4, sizeof *array);
    witness_put(&array[3]);
    for (size_t n = 8; n <= 1 << 18; n *= 2) {
        array = realloc(array, n * sizeof *array);
        WITNESS_NEED(array != NULL, "realloc");
    }
}

static void aligned_hold(void)
{
    void *p = NULL;
    WITNESS_NEED(posix_memalign(&p, 1 << 16, 9000) == 0, "posix_memalign");
    array = p;
    memset(p, 0, 9000);
    witness_put(&array[1000]);
}

// ---- thread-local storage and keys -------------------------------------------------------------

static _Thread_local uintptr_t tls_word;
static _Thread_local uintptr_t tls_data = 3;

static void tls_main_hold(void)
{
    witness_put(&tls_word);
}
static void tls_main_drop(void)
{
    tls_word = 0;
}

static void *tls_thread(void *arg)
{
    witness_put(&tls_word);
    witness_wipe();
    parked_read();
    return arg;
}

static void *tls_data_thread(void *arg)
{
    witness_put(&tls_data);
    witness_wipe();
    parked_read();
    return arg;
}

static void tls_thread_hold(void)
{
    parked_start(tls_thread, NULL);
}
static void tls_data_thread_hold(void)
{
    parked_start(tls_data_thread, NULL);
}

static pthread_key_t keys[200];
static size_t key_at;

static witness_noinline void key_set(pthread_key_t key, const struct witness *w)
{
    pthread_setspecific(key, w ? (void *)~w->inverted : NULL);
}

static void keys_make(void)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        WITNESS_NEED(pthread_key_create(&keys[i], NULL) == 0, "pthread_key_create");
}

static void key_low_hold(void)
{
    keys_make();
    key_at = 2;
    key_set(keys[key_at], &witness);
}

static void key_high_hold(void)
{
    keys_make();
    key_at = 150;
    key_set(keys[key_at], &witness);
}

static void key_drop(void)
{
    key_set(keys[key_at], NULL);
}

static void *key_thread(void *arg)
{
    key_set(keys[key_at], &witness);
    witness_wipe();
    parked_read();
    return arg;
}

static void key_low_thread_hold(void)
{
    keys_make();
    key_at = 3;
    parked_start(key_thread, NULL);
}

static void key_high_thread_hold(void)
{
    keys_make();
    key_at = 180;
    parked_start(key_thread, NULL);
}

// ---- stacks of blocked threads -----------------------------------------------------------------

static void *stack_read_thread(void *arg)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_wipe();
    parked_read();
    word = 0;
    return arg;
}

// One past the end of a witness whose size is its slot's, so that p + size is the next slot's
// start.
static void *stack_past_thread(void *arg)
{
    volatile uintptr_t word = 0;
    witness_put_of(&witness, &word, (ptrdiff_t)witness.size);
    witness_wipe();
    parked_read();
    word = 0;
    return arg;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static bool woken;

static void *stack_cond_thread(void *arg)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_wipe();
    pthread_mutex_lock(&mutex);
    parked_say();
    while (!woken)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    word = 0;
    return arg;
}

static void *stack_mutex_thread(void *arg)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_wipe();
    parked_say();
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    word = 0;
    return arg;
}

static void *stack_sem_thread(void *arg)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_wipe();
    parked_say();
    while (sem_wait(&sem) != 0)
        WITNESS_NEED(errno != EINTR, "sem_wait: EINTR");
    word = 0;
    return arg;
}

// Deep in a stack of several MiB.
static witness_noinline void stack_deep(int depth)
{
    volatile char pad[4096];
    pad[0] = (char)depth;
    if (depth > 0)
        stack_deep(depth - 1);
    else
        parked_read();
    pad[1] = pad[0];
}

static void *stack_deep_thread(void *arg)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_wipe();
    stack_deep(1000);
    word = 0;
    return arg;
}

static void stack_read_hold(void)
{
    parked_start(stack_read_thread, NULL);
}
static void stack_past_hold(void)
{
    parked_start(stack_past_thread, NULL);
}
static void stack_deep_hold(void)
{
    parked_start(stack_deep_thread, NULL);
}
static void stack_cond_hold(void)
{
    parked_start(stack_cond_thread, NULL);
}

static void stack_cond_drop(void)
{
    pthread_mutex_lock(&mutex);
    woken = true;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    pthread_join(parked_thread, NULL);
}

static void stack_mutex_hold(void)
{
    pthread_mutex_lock(&mutex);
    parked_start(stack_mutex_thread, NULL);
}

static void stack_mutex_drop(void)
{
    pthread_mutex_unlock(&mutex);
    pthread_join(parked_thread, NULL);
}

static void stack_sem_hold(void)
{
    sem_init(&sem, 0, 0);
    parked_start(stack_sem_thread, NULL);
}

static void stack_sem_drop(void)
{
    sem_post(&sem);
    pthread_join(parked_thread, NULL);
}

// The main thread's own frame, while another thread collects and main waits for it.
static void *collect_thread(void *arg)
{
    witness_collect(witness.size);
    return arg;
}

static void stack_main_hold(void)
{
    volatile uintptr_t word = 0;
    pthread_t t;
    witness_put(&word);
    witness_wipe();
    WITNESS_NEED(pthread_create(&t, NULL, collect_thread, NULL) == 0, "pthread_create");
    pthread_join(t, NULL);
    witness_collect(witness.size);
    WITNESS_NEED(witness_intact(&witness), "lost from the main thread's stack");
    witness_put(&global_word);
    word = 0;
}

// ---- stacks that the program gave --------------------------------------------------------------

static uintptr_t given_inverted;

static void given_start(void *stack, size_t size)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    WITNESS_NEED(pthread_attr_setstack(&attr, stack, size) == 0, "pthread_attr_setstack");
    parked_start(stack_read_thread, &attr);
    pthread_attr_destroy(&attr);
    memset(&attr, 0, sizeof attr);
}

static void given_mmap_hold(void)
{
    void *p = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WITNESS_NEED(p != MAP_FAILED, "mmap");
    given_start(p, 1 << 18);
}

static void given_malloc_hold(void)
{
    void *p = NULL;
    WITNESS_NEED(posix_memalign(&p, PAGE, 1 << 18) == 0, "posix_memalign");
    given_start(p, 1 << 18);
    given_inverted = ~(uintptr_t)p;
}

static void given_malloc_drop(void)
{
    parked_end();
    free((void *)~given_inverted);
}

// ---- registers, the red zone -------------------------------------------------------------------

// Each function spins with the witness's address in one register alone until spin_stop is set. In
// assembly, because a compiler keeps copies.
int spin_ready __attribute__((visibility("hidden")));
int spin_stop __attribute__((visibility("hidden")));
uintptr_t spin_inverted __attribute__((visibility("hidden")));
uintptr_t spin_past_inverted __attribute__((visibility("hidden")));

#define SPIN(reg)                                                                                  \
    void spin_##reg(void);                                                                         \
    __asm__(".text\nspin_" #reg ":\n\t"                                                            \
            "push %" #reg "\n\t"                                                                   \
            "mov spin_inverted(%rip), %" #reg "\n\t"                                               \
            "not %" #reg "\n\t"                                                                    \
            "movl $1, spin_ready(%rip)\n"                                                          \
            "1:\tpause\n\t"                                                                        \
            "cmpl $0, spin_stop(%rip)\n\t"                                                         \
            "je 1b\n\t"                                                                            \
            "xor %" #reg ", %" #reg "\n\t"                                                         \
            "pop %" #reg "\n\t"                                                                    \
            "ret\n");                                                                              \
    static void spin_##reg##_hold(void)                                                            \
    {                                                                                              \
        spin_start(spin_##reg);                                                                    \
    }

#define REDZONE(name, offset)                                                                      \
    void redzone_##name(void);                                                                     \
    __asm__(".text\nredzone_" #name ":\n\t"                                                        \
            "mov spin_inverted(%rip), %rax\n\t"                                                    \
            "not %rax\n\t"                                                                         \
            "mov %rax, -" #offset "(%rsp)\n\t"                                                     \
            "xor %eax, %eax\n\t"                                                                   \
            "movl $1, spin_ready(%rip)\n"                                                          \
            "1:\tpause\n\t"                                                                        \
            "cmpl $0, spin_stop(%rip)\n\t"                                                         \
            "je 1b\n\t"                                                                            \
            "movq $0, -" #offset "(%rsp)\n\t"                                                      \
            "ret\n");                                                                              \
    static void redzone_##name##_hold(void)                                                        \
    {                                                                                              \
        spin_start(redzone_##name);                                                                \
    }

static void (*spin_fn)(void);

static void *spin_thread(void *arg)
{
    spin_fn();
    return arg;
}

static void spin_await(void)
{
    while (!__atomic_load_n(&spin_ready, __ATOMIC_SEQ_CST))
        sched_yield();
}

static void spin_start(void (*fn)(void))
{
    spin_fn = fn;
    spin_inverted = witness.inverted;
    WITNESS_NEED(pthread_create(&parked_thread, NULL, spin_thread, NULL) == 0, "pthread_create");
    spin_await();
}

static void spin_drop(void)
{
    __atomic_store_n(&spin_stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(parked_thread, NULL);
}

SPIN(rax)
SPIN(rbx)
SPIN(rcx)
SPIN(rdx)
SPIN(rsi)
SPIN(rdi)
SPIN(rbp)
SPIN(r8)
SPIN(r9)
SPIN(r10)
SPIN(r11)
SPIN(r12)
SPIN(r13)
SPIN(r14)
SPIN(r15)
REDZONE(8, 8)
REDZONE(64, 64)
REDZONE(128, 128)

// One past the end, in a register.
static void spin_past_hold(void)
{
    spin_fn = spin_rbx;
    spin_inverted = ~(~witness.inverted + witness.size);
    WITNESS_NEED(pthread_create(&parked_thread, NULL, spin_thread, NULL) == 0, "pthread_create");
    spin_await();
}

// The collecting thread's own callers keep pointers in callee-saved registers.
void caller_collect(void);
void __attribute__((visibility("hidden"))) caller_collect(void)
{
    witness_collect(witness.size);
}

#define CALLER(reg)                                                                                \
    void caller_##reg(void);                                                                       \
    __asm__(".text\ncaller_" #reg ":\n\t"                                                          \
            "push %" #reg "\n\t"                                                                   \
            "mov spin_inverted(%rip), %" #reg "\n\t"                                               \
            "not %" #reg "\n\t"                                                                    \
            "call caller_collect\n\t"                                                              \
            "xor %" #reg ", %" #reg "\n\t"                                                         \
            "pop %" #reg "\n\t"                                                                    \
            "ret\n");                                                                              \
    static void caller_##reg##_hold(void)                                                          \
    {                                                                                              \
        caller_start(caller_##reg);                                                                \
    }

static void caller_start(void (*fn)(void))
{
    spin_inverted = witness.inverted;
    fn();
    WITNESS_NEED(witness_intact(&witness), "lost from a register of the collector's caller");
    witness_put(&global_word);
}

CALLER(rbx)
CALLER(rbp)
CALLER(r12)
CALLER(r13)
CALLER(r14)
CALLER(r15)

// ---- signal stacks -----------------------------------------------------------------------------

static void *signal_stack;

static void handler_spin(void)
{
    __atomic_store_n(&spin_ready, 2, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&spin_stop, __ATOMIC_SEQ_CST))
        __builtin_ia32_pause();
}

static void handler_holds(int sig)
{
    (void)sig;
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_wipe();
    handler_spin();
    word = 0;
}

static void handler_bare(int sig)
{
    (void)sig;
    handler_spin();
}

static void altstack_use(void)
{
    stack_t ss = {.ss_sp = signal_stack, .ss_size = 1 << 17};
    WITNESS_NEED(sigaltstack(&ss, NULL) == 0, "sigaltstack");
}

static void *altstack_thread(void *arg)
{
    altstack_use();
    raise(SIGUSR1);
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    return arg;
}

// The pointer is on the ordinary stack while the handler runs on the other one.
static void *below_altstack_thread(void *arg)
{
    volatile uintptr_t word = 0;
    altstack_use();
    witness_put(&word);
    witness_wipe();
    raise(SIGUSR1);
    word = 0;
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    return arg;
}

// The pointer is in a register that the signal interrupted: only the first signal's frame has it.
static void *frame_altstack_thread(void *arg)
{
    altstack_use();
    spin_rbx();
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    return arg;
}

static void altstack_start(void *(*fn)(void *), void (*handler)(int), bool on_heap)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &sa, NULL);
    signal_stack =
        on_heap ? malloc(1 << 17)
                : mmap(NULL, 1 << 17, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WITNESS_NEED(pthread_create(&parked_thread, NULL, fn, NULL) == 0, "pthread_create");
    if (fn == frame_altstack_thread) {
        spin_await();
        pthread_kill(parked_thread, SIGUSR1);
    }
    while (__atomic_load_n(&spin_ready, __ATOMIC_SEQ_CST) != 2)
        sched_yield();
    given_inverted = ~(uintptr_t)signal_stack;
    signal_stack = NULL;
}

static void altstack_hold(void)
{
    altstack_start(altstack_thread, handler_holds, false);
}
static void altstack_malloc_hold(void)
{
    altstack_start(altstack_thread, handler_holds, true);
}
static void below_altstack_hold(void)
{
    altstack_start(below_altstack_thread, handler_bare, false);
}
static void frame_altstack_hold(void)
{
    spin_inverted = witness.inverted;
    altstack_start(frame_altstack_thread, handler_bare, false);
}

// An alternate stack in malloc'ed memory that only the kernel knows, with no handler running on it:
// the next signal will use it. Its lowest word holds the witness. (The stop signal may write its
// frame at the upper end, as any signal may.)
#define IDLE_SIZE (1 << 18)

static void handler_idle(int sig)
{
    volatile uint64_t fill[16384];
    for (size_t i = 0; i < 16384; i++)
        fill[i] = ~i;
    (void)fill[sig];
}

static witness_noinline void altstack_idle_set(void)
{
    struct sigaction sa = {.sa_handler = handler_idle, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &sa, NULL);
    uintptr_t *stack = calloc(1, IDLE_SIZE);
    stack_t ss = {.ss_sp = stack, .ss_size = IDLE_SIZE};
    WITNESS_NEED(stack && sigaltstack(&ss, NULL) == 0, "sigaltstack");
    witness_put(stack);
    given_inverted = ~(uintptr_t)stack;
    memset(&ss, 0, sizeof ss);
}

static void altstack_idle_end(void)
{
    raise(SIGUSR1);
    WITNESS_NEED(*(uintptr_t *)~given_inverted == ~witness.inverted, "the stack was lost");
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
}

static void altstack_idle_hold(void)
{
    altstack_idle_set();
    witness_wipe();
    witness_collect(IDLE_SIZE);
}

static void *altstack_idle_thread(void *arg)
{
    altstack_idle_set();
    witness_wipe();
    parked_read();
    altstack_idle_end();
    return arg;
}

static void altstack_idle_thread_hold(void)
{
    parked_start(altstack_idle_thread, NULL);
    witness_collect(IDLE_SIZE);
}

// ---- what libc keeps ---------------------------------------------------------------------------

// The string that putenv took stays the program's own memory.
static witness_noinline void putenv_put(void)
{
    char *p = (char *)~witness.inverted;
    memset(p, 'w', witness.size);
    memcpy(p, "WITNESS=", 8);
    p[witness.size - 1] = '\0';
    WITNESS_NEED(putenv(p) == 0, "putenv");
}

static witness_noinline void putenv_check(void)
{
    const char *value = getenv("WITNESS");
    WITNESS_NEED(value && strspn(value, "w") == witness.size - 9, "the environment changed");
    unsetenv("WITNESS");
    witness_put(&global_word);
    witness_fill((unsigned char *)~witness.inverted, witness.size, witness.seed);
}

static void putenv_hold(void)
{
    putenv_put();
    witness_collect(witness.size);
    putenv_check();
}

static FILE *stream;

static void setvbuf_hold(void)
{
    stream = fopen("/dev/null", "w");
    WITNESS_NEED(stream && setvbuf(stream, (char *)~witness.inverted, _IOFBF, witness.size) == 0,
                 "setvbuf");
}

static void setvbuf_drop(void)
{
    fclose(stream);
    stream = NULL;
}

static void on_exit_fn(int status, void *arg)
{
    (void)status;
    (void)arg;
}

static witness_noinline void on_exit_set(void)
{
    on_exit(on_exit_fn, (void *)~witness.inverted);
}

static void on_exit_hold(void)
{
    on_exit_set();
}

static void on_exit_many_hold(void)
{
    for (int i = 0; i < 70; i++)
        on_exit(on_exit_fn, NULL);
    on_exit_set();
    for (int i = 0; i < 70; i++)
        on_exit(on_exit_fn, NULL);
}

int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

static void thread_atexit_fn(void *arg)
{
    (void)arg;
}

static witness_noinline void thread_atexit_set(void)
{
    __cxa_thread_atexit_impl(thread_atexit_fn, (void *)~witness.inverted, &__dso_handle);
}

static void *thread_atexit_thread(void *arg)
{
    thread_atexit_set();
    witness_wipe();
    parked_read();
    return arg;
}

static void thread_atexit_hold(void)
{
    parked_start(thread_atexit_thread, NULL);
}

static ssize_t cookie_read(void *cookie, char *buf, size_t n)
{
    (void)cookie;
    memset(buf, 'x', n);
    return (ssize_t)n;
}

static void cookie_hold(void)
{
    cookie_io_functions_t io = {.read = cookie_read};
    stream = fopencookie((void *)~witness.inverted, "r", io);
    WITNESS_NEED(stream != NULL, "fopencookie");
}

static void *tree;

static int word_compare(const void *a, const void *b)
{
    return (uintptr_t)a < (uintptr_t)b ? -1 : (uintptr_t)a > (uintptr_t)b;
}

static witness_noinline void tsearch_put(void)
{
    WITNESS_NEED(tsearch((void *)~witness.inverted, &tree, word_compare) != NULL, "tsearch");
}

// The tree's links carry their colour in bit 0.
static void tsearch_hold(void)
{
    for (uintptr_t i = 1; i <= 500; i++)
        tsearch((void *)(i * 64), &tree, word_compare);
    tsearch_put();
    for (uintptr_t i = 501; i <= 1000; i++)
        tsearch((void *)(i * 64), &tree, word_compare);
}

static void tsearch_drop(void)
{
    tdelete((void *)~witness.inverted, &tree, word_compare);
    for (uintptr_t i = 1; i <= 1000; i++)
        WITNESS_NEED(tfind((void *)(i * 64), &tree, word_compare), "the tree lost key %lu", i);
}

static void hsearch_hold(void)
{
    static char key[] = "witness";
    WITNESS_NEED(hcreate(100), "hcreate");
    ENTRY e = {.key = key, .data = (void *)~witness.inverted};
    WITNESS_NEED(hsearch(e, ENTER) != NULL, "hsearch");
}

static void hsearch_drop(void)
{
    hdestroy();
}

// ---- threads being born and dying --------------------------------------------------------------

// The only pointer is pthread_create's argument, while another thread collects all the time.
static _Atomic bool birth_over;
static _Atomic int birth_lost;

static void *birth_collector(void *arg)
{
    while (!atomic_load_explicit(&birth_over, memory_order_relaxed)) {
        witness_wipe();
        salvage_collect();
        witness_churn(witness.size);
    }
    return arg;
}

static witness_noinline void birth_check(const void *arg)
{
    size_t at = witness_compare(arg, WITNESS_SIZE, 99);
    if (at != WITNESS_SIZE)
        atomic_fetch_add_explicit(&birth_lost, 1, memory_order_relaxed);
}

static void *birth_thread(void *arg)
{
    birth_check(arg);
    free(arg);
    return NULL;
}

static int birth_thrd(void *arg)
{
    birth_check(arg);
    free(arg);
    return 0;
}

static witness_noinline void birth_pthread(void)
{
    pthread_t t;
    unsigned char *p = malloc(WITNESS_SIZE);
    witness_fill(p, WITNESS_SIZE, 99);
    WITNESS_NEED(pthread_create(&t, NULL, birth_thread, p) == 0, "pthread_create");
    p = NULL;
    pthread_join(t, NULL);
}

static witness_noinline void birth_c11(void)
{
    thrd_t t;
    unsigned char *p = malloc(WITNESS_SIZE);
    witness_fill(p, WITNESS_SIZE, 99);
    WITNESS_NEED(thrd_create(&t, birth_thrd, p) == thrd_success, "thrd_create");
    p = NULL;
    thrd_join(t, NULL);
}

static void birth_run(void (*fn)(void))
{
    pthread_t t;
    WITNESS_NEED(pthread_create(&t, NULL, birth_collector, NULL) == 0, "pthread_create");
    for (int i = 0; i < 300; i++)
        fn();
    atomic_store_explicit(&birth_over, true, memory_order_relaxed);
    pthread_join(t, NULL);
    WITNESS_NEED(atomic_load_explicit(&birth_lost, memory_order_relaxed) == 0, "%d arguments lost",
                 birth_lost);
    witness_put(&global_word);
}

static void birth_pthread_hold(void)
{
    birth_run(birth_pthread);
}
static void birth_c11_hold(void)
{
    birth_run(birth_c11);
}

// The result of a thread that has ended and waits to be joined: its kernel thread is gone, the
// result stands in its thread block alone.
static _Atomic pid_t result_tid;

static void *result_thread(void *arg)
{
    (void)arg;
    atomic_store_explicit(&result_tid, gettid(), memory_order_seq_cst);
    return (void *)~witness.inverted;
}

static void result_hold(void)
{
    WITNESS_NEED(pthread_create(&parked_thread, NULL, result_thread, NULL) == 0, "pthread_create");
    pid_t tid;
    while ((tid = atomic_load_explicit(&result_tid, memory_order_seq_cst)) == 0)
        sched_yield();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", tid);
    while (access(path, F_OK) == 0)
        sched_yield();
}

static void result_drop(void)
{
    void *p = NULL;
    pthread_join(parked_thread, &p);
    WITNESS_NEED((uintptr_t)p == ~witness.inverted, "joined %p", p);
}

// A thread that libpthread knows nothing of, with the pointer in a register or on its stack.
static char clone_stack[1 << 16] __attribute__((aligned(16)));
static int clone_tid;

static int clone_fn(void *arg)
{
    (void)arg;
    spin_fn();
    return 0;
}

static void clone_start(void (*fn)(void))
{
    spin_fn = fn;
    spin_inverted = witness.inverted;
    clone_tid = -1;
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                CLONE_CHILD_CLEARTID;
    int tid =
        clone(clone_fn, clone_stack + sizeof clone_stack, flags, NULL, NULL, NULL, &clone_tid);
    WITNESS_NEED(tid > 0, "clone: %s", strerror(errno));
    spin_await();
}

static void clone_rbx_hold(void)
{
    clone_start(spin_rbx);
}
static void clone_redzone_hold(void)
{
    clone_start(redzone_64);
}

static void clone_drop(void)
{
    __atomic_store_n(&spin_stop, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&clone_tid, __ATOMIC_SEQ_CST) != 0)
        sched_yield();
}

// The main thread has ended by pthread_exit; another one goes on. Its /proc/self shows a zombie.
static void *zombie_thread(void *arg)
{
    pthread_t main_thread;
    memcpy(&main_thread, &arg, sizeof main_thread);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    for (bool gone = false; !gone;) {
        char text[256] = "";
        int fd = open(path, O_RDONLY);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
        close(fd);
        gone = n <= 0 || strstr(text, ") Z ") != NULL;
        sched_yield();
    }
    struct salvage_stats before, after;
    salvage_stats(&before);
    witness_collect(witness.size);
    salvage_stats(&after);
    WITNESS_NEED(witness_intact(&witness), "lost after the main thread ended");
    if (after.cycles == before.cycles)
        printf("  note: no collection since the main thread ended (%lu abandoned)\n",
               (unsigned long)(after.cycles_abandoned - before.cycles_abandoned));
    _exit(0);
}

static void zombie_go(void)
{
    pthread_t t;
    witness_wipe();
    WITNESS_NEED(pthread_create(&t, NULL, zombie_thread, NULL) == 0, "pthread_create");
    pthread_exit(NULL);
}

static void zombie_global_hold(void)
{
    witness_put(&global_word);
    zombie_go();
}

static void zombie_chain_hold(void)
{
    chain_hold();
    zombie_go();
}

static void zombie_environ_hold(void)
{
    witness_put(&environ[0]);
    zombie_go();
}

// ---- argv and environ slots --------------------------------------------------------------------

static void argv_hold(void)
{
    witness_put(&args[0]);
}
static void argv_drop(void)
{
    args[0] = NULL;
}
static void environ_hold(void)
{
    witness_put(&environ[0]);
}
static void environ_drop(void)
{
    environ[0] = NULL;
}

// ---- mappings ----------------------------------------------------------------------------------

static uintptr_t *area;
static size_t area_size;

static void area_take(size_t size, int prot, int flags, int fd)
{
    area_size = size;
    area = mmap(NULL, size, prot, flags, fd, 0);
    WITNESS_NEED(area != MAP_FAILED, "mmap: %s", strerror(errno));
}

static void area_put(void)
{
    witness_put(&area[area_size / sizeof *area / 2 + 3]);
}

static void area_drop(void)
{
    munmap(area, area_size);
    area = NULL;
}

static void mmap_hold(void)
{
    area_take(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    area_put();
}

static void mmap_sparse_hold(void)
{
    area_take((size_t)64 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
              -1);
    area_put();
}

static void mmap_huge_hold(void)
{
    area_take(16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise(area, area_size, MADV_HUGEPAGE);
    area_put();
}

static void mmap_exec_hold(void)
{
    area_take(1 << 16, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    area_put();
}

static void mmap_zero_hold(void)
{
    int fd = open("/dev/zero", O_RDWR);
    area_take(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    close(fd);
    area_put();
}

static void mmap_shared_hold(void)
{
    area_take(1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    area_put();
}

static void memfd_hold(void)
{
    int fd = memfd_create("witness", MFD_CLOEXEC);
    WITNESS_NEED(fd >= 0 && ftruncate(fd, 1 << 20) == 0, "memfd_create");
    area_take(1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    close(fd);
    area_put();
}

static int file_make(void)
{
    char path[] = "/tmp/witness.XXXXXX";
    int fd = mkstemp(path);
    WITNESS_NEED(fd >= 0 && unlink(path) == 0 && ftruncate(fd, 1 << 20) == 0, "mkstemp");
    return fd;
}

static void file_shared_hold(void)
{
    int fd = file_make();
    area_take(1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    close(fd);
    area_put();
}

static void file_private_hold(void)
{
    int fd = file_make();
    area_take(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    close(fd);
    area_put();
}

static void file_private_ro_hold(void)
{
    file_private_hold();
    mprotect(area, area_size, PROT_READ);
}

static void readonly_hold(void)
{
    mmap_hold();
    mprotect(area, area_size, PROT_READ);
}

static void none_hold(void)
{
    mmap_hold();
    mprotect(area, area_size, PROT_NONE);
}

static void none_shared_hold(void)
{
    mmap_shared_hold();
    mprotect(area, area_size, PROT_NONE);
}

static void exec_only_hold(void)
{
    mmap_hold();
    mprotect(area, area_size, PROT_EXEC);
}

static void mremap_hold(void)
{
    mmap_hold();
    void *p = mremap(area, area_size, area_size * 8, MREMAP_MAYMOVE);
    WITNESS_NEED(p != MAP_FAILED, "mremap");
    area = p;
    area_size *= 8;
}

static void mlock_hold(void)
{
    area_take(1 << 14, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    mlock(area, area_size);
    area_put();
}

static void fork_copy_hold(void)
{
    mmap_hold();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(WITNESS_HANG / 2);
        witness_collect(witness.size);
        _exit(witness_intact(&witness) ? 0 : 1);
    }
    int status = -1;
    WITNESS_NEED(waitpid(pid, &status, 0) == pid && status == 0, "lost in a forked child (%d)",
                 status);
}

static uintptr_t *broken; // by sbrk

static void sbrk_hold(void)
{
    broken = sbrk(1 << 16);
    WITNESS_NEED(broken != (void *)-1, "sbrk");
    broken = (uintptr_t *)(((uintptr_t)broken + 15) & ~(uintptr_t)15);
    witness_put(&broken[1000]);
}

static void sbrk_drop(void)
{
    broken[1000] = 0;
}

static void shm_hold(void)
{
    int id = shmget(IPC_PRIVATE, 1 << 16, IPC_CREAT | 0600);
    WITNESS_NEED(id >= 0, "shmget");
    area = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    WITNESS_NEED(area != (void *)-1, "shmat");
    area_size = 1 << 16;
    area_put();
}

static void shm_drop(void)
{
    shmdt(area);
    area = NULL;
}

// A program's own root, which no listing of mappings would need: taken back by remove.
static void add_root_hold(void)
{
    mmap_hold();
    salvage_add_root(area, area_size);
}

static void add_root_drop(void)
{
    salvage_remove_root(area, area_size);
    area_drop();
}

#define REGISTER(r)                                                                                \
    {                                                                                              \
        "register " #r, spin_##r##_hold, spin_drop, 0                                              \
    }
#define CALLERS(r)                                                                                 \
    {                                                                                              \
        "caller's " #r, caller_##r##_hold, global_drop, 0                                          \
    }

static const struct place places[] = {
    {"data", data_hold, data_drop, 0},
    {"bss", bss_hold, bss_drop, 0},
    {"global", global_hold, global_drop, 0},
    {"global, 16 bytes", global_hold, global_drop, 16},
    {"global, 48 bytes", global_hold, global_drop, 48},
    {"global, 64 bytes", global_hold, global_drop, 64},
    {"global, 30000 bytes", global_hold, global_drop, 30000},
    {"global, 1 MiB", global_hold, global_drop, 1 << 20},
    {"sealed data", sealed_hold, sealed_drop, 0},
    {"sealed data, PROT_NONE", sealed_none_hold, sealed_drop, 0},
    {"tag 1", tag1_hold, global_drop, 0},
    {"tag 7", tag7_hold, global_drop, 0},
    {"interior", interior_hold, global_drop, 0},
    {"last byte", last_byte_hold, global_drop, 0},
    {"last byte of 1 MiB", last_byte_hold, global_drop, 1 << 20},
    {"last byte of a slot", last_byte_hold, global_drop, 4096},
    {"one past the end", past_end_hold, global_drop, 0},
    {"one past the end of 16", past_end_hold, global_drop, 16},
    {"one past the end of 4096", past_end_hold, global_drop, 4096},
    {"one past the end of 32768", past_end_hold, global_drop, 32768},
    {"one past the end of 1 MiB", past_end_hold, global_drop, 1 << 20},
    {"heap chain", chain_hold, chain_drop, 0},
    {"heap array", array_hold, array_drop, 0},
    {"heap array, realloc'ed", realloc_hold, array_drop, 0},
    {"heap array, aligned", aligned_hold, array_drop, 0},
    {"packed", packed_small_hold, array_drop, 0},
    {"packed, large", packed_large_hold, array_drop, 0},
    {"packed, across two pieces", packed_border_hold, array_drop, 0},
    {"packed, across two pieces of 600 KiB", packed_medium_border_hold, array_drop, 0},
    {"packed, across two pages of a mapping", packed_mapped_hold, mapped_drop, 0},
    {"generated code", code_hold, mapped_drop, 0},
    {"generated code, unreadable", code_unreadable_hold, mapped_drop, 0},
    {"TLS of main", tls_main_hold, tls_main_drop, 0},
    {"TLS of a thread", tls_thread_hold, parked_end, 0},
    {"TLS of a thread, initialised", tls_data_thread_hold, parked_end, 0},
    {"key below 32", key_low_hold, key_drop, 0},
    {"key above 32", key_high_hold, key_drop, 0},
    {"key below 32 of a thread", key_low_thread_hold, parked_end, 0},
    {"key above 32 of a thread", key_high_thread_hold, parked_end, 0},
    {"stack in read", stack_read_hold, parked_end, 0},
    {"stack in read, deep", stack_deep_hold, parked_end, 0},
    {"stack in pthread_cond_wait", stack_cond_hold, stack_cond_drop, 0},
    {"stack in pthread_mutex_lock", stack_mutex_hold, stack_mutex_drop, 0},
    {"stack in sem_wait", stack_sem_hold, stack_sem_drop, 0},
    {"stack of main", stack_main_hold, global_drop, 0},
    {"stack, one past the end", stack_past_hold, parked_end, 4096},
    {"stack, one past the end of 64", stack_past_hold, parked_end, 64},
    {"stack, one past the end of 1 MiB", stack_past_hold, parked_end, 1 << 20},
    {"stack given, mmap", given_mmap_hold, parked_end, 0},
    {"stack given, malloc", given_malloc_hold, given_malloc_drop, 0},
    REGISTER(rax),
    REGISTER(rbx),
    REGISTER(rcx),
    REGISTER(rdx),
    REGISTER(rsi),
    REGISTER(rdi),
    REGISTER(rbp),
    REGISTER(r8),
    REGISTER(r9),
    REGISTER(r10),
    REGISTER(r11),
    REGISTER(r12),
    REGISTER(r13),
    REGISTER(r14),
    REGISTER(r15),
    {"register, one past the end", spin_past_hold, spin_drop, 4096},
    CALLERS(rbx),
    CALLERS(rbp),
    CALLERS(r12),
    CALLERS(r13),
    CALLERS(r14),
    CALLERS(r15),
    {"red zone -8", redzone_8_hold, spin_drop, 0},
    {"red zone -64", redzone_64_hold, spin_drop, 0},
    {"red zone -128", redzone_128_hold, spin_drop, 0},
    {"sigaltstack", altstack_hold, spin_drop, 0},
    {"sigaltstack, malloc", altstack_malloc_hold, spin_drop, 0},
    {"stack below sigaltstack", below_altstack_hold, spin_drop, 0},
    {"frame on sigaltstack", frame_altstack_hold, spin_drop, 0},
    {"sigaltstack itself", altstack_idle_hold, altstack_idle_end, 0},
    {"sigaltstack itself, of a thread", altstack_idle_thread_hold, parked_end, 0},
    {"putenv", putenv_hold, global_drop, 0},
    {"setvbuf", setvbuf_hold, setvbuf_drop, 0},
    {"on_exit", on_exit_hold, NULL, 0},
    {"on_exit, many", on_exit_many_hold, NULL, 0},
    {"thread atexit", thread_atexit_hold, parked_end, 0},
    {"fopencookie", cookie_hold, setvbuf_drop, 0},
    {"tsearch", tsearch_hold, tsearch_drop, 0},
    {"hsearch", hsearch_hold, hsearch_drop, 0},
    {"pthread_create's argument", birth_pthread_hold, global_drop, 0},
    {"thrd_create's argument", birth_c11_hold, global_drop, 0},
    {"result of an ended thread", result_hold, result_drop, 0},
    {"clone, register", clone_rbx_hold, clone_drop, 0},
    {"clone, red zone", clone_redzone_hold, clone_drop, 0},
    {"zombie main, global", zombie_global_hold, NULL, 0},
    {"zombie main, chain", zombie_chain_hold, NULL, 0},
    {"zombie main, environ", zombie_environ_hold, NULL, 0},
    {"argv", argv_hold, argv_drop, 0},
    {"environ", environ_hold, environ_drop, 0},
    {"mmap", mmap_hold, area_drop, 0},
    {"mmap, sparse 64 GiB", mmap_sparse_hold, area_drop, 0},
    {"mmap, huge pages", mmap_huge_hold, area_drop, 0},
    {"mmap, executable", mmap_exec_hold, area_drop, 0},
    {"mmap /dev/zero", mmap_zero_hold, area_drop, 0},
    {"mmap shared", mmap_shared_hold, area_drop, 0},
    {"mmap memfd", memfd_hold, area_drop, 0},
    {"mmap file, shared", file_shared_hold, area_drop, 0},
    {"mmap file, private", file_private_hold, area_drop, 0},
    {"mmap file, private, read-only", file_private_ro_hold, area_drop, 0},
    {"mmap read-only", readonly_hold, area_drop, 0},
    {"mmap PROT_NONE", none_hold, area_drop, 0},
    {"mmap shared, PROT_NONE", none_shared_hold, area_drop, 0},
    {"mmap PROT_EXEC", exec_only_hold, area_drop, 0},
    {"mmap, mremap", mremap_hold, area_drop, 0},
    {"mmap, mlock", mlock_hold, area_drop, 0},
    {"mmap, in a forked child", fork_copy_hold, area_drop, 0},
    {"sbrk", sbrk_hold, sbrk_drop, 0},
    {"System V shm", shm_hold, shm_drop, 0},
    {"salvage_add_root", add_root_hold, add_root_drop, 0},
};

int main(int argc, char **argv)
{
    args = argv;
    return place_main(argc, argv, places, sizeof places / sizeof places[0], 20);
}
