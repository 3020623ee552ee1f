// Roots in libraries that the program opens: their data and bss, and their thread-local storage,
// whose blocks only the DTV of each thread knows; and the DTV itself, which glibc keeps in the
// thread blocks of cached stacks between one thread and the next.
//
// The library (lib/holder.c) is built by `cc` in a temporary directory when this test starts.
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: stress=64,clobber=1

#include "lib/witness.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>

enum { DATA, BSS, BIG, TLS, TLS_DATA, TLS_BIG, TLS_ALIGNED };

static void *library;
static void *(*library_place)(int n);

static void library_open(void)
{
    library = dlopen(getenv("HOLDER"), RTLD_NOW | RTLD_LOCAL);
    WITNESS_NEED(library != NULL, "%s", dlerror());
    void *fn = dlsym(library, "holder_place");
    memcpy(&library_place, &fn, sizeof fn);
}

static int place_n;

static void place_drop(void)
{
    memset(library_place(place_n), 0, sizeof(uintptr_t));
}

static void place_hold(int n)
{
    library_open();
    place_n = n;
    witness_put(library_place(n));
}

static void *place_thread(void *arg)
{
    witness_put(library_place(place_n));
    witness_wipe();
    parked_read();
    return arg;
}

static void place_thread_hold(int n)
{
    library_open();
    place_n = n;
    parked_start(place_thread, NULL);
}

// The block of an ended thread stays in the DTV of its cached stack, where it is reachable and will
// be freed by glibc, until another thread takes that stack.
static void *plain_thread(void *arg)
{
    return arg;
}

static void place_thread_drop(void)
{
    pthread_t t;
    parked_end();
    WITNESS_NEED(pthread_create(&t, NULL, plain_thread, NULL) == 0, "pthread_create");
    pthread_join(t, NULL);
}

static void data_hold(void)
{
    place_hold(DATA);
}
static void bss_hold(void)
{
    place_hold(BSS);
}
static void big_hold(void)
{
    place_hold(BIG);
}
static void tls_hold(void)
{
    place_hold(TLS);
}
static void tls_data_hold(void)
{
    place_hold(TLS_DATA);
}
static void tls_big_hold(void)
{
    place_hold(TLS_BIG);
}
static void tls_aligned_hold(void)
{
    place_hold(TLS_ALIGNED);
}
static void thread_tls_hold(void)
{
    place_thread_hold(TLS);
}
static void thread_tls_data_hold(void)
{
    place_thread_hold(TLS_DATA);
}
static void thread_tls_big_hold(void)
{
    place_thread_hold(TLS_BIG);
}
static void thread_tls_aligned_hold(void)
{
    place_thread_hold(TLS_ALIGNED);
}

// Threads that were there before the library, so that their DTV has to grow.
static _Atomic bool opened;

static void *early_thread(void *arg)
{
    parked_say();
    while (!atomic_load_explicit(&opened, memory_order_seq_cst))
        sched_yield();
    witness_put(library_place(TLS_BIG));
    witness_wipe();
    parked_read();
    return arg;
}

static void early_hold(void)
{
    parked_start(early_thread, NULL);
    library_open();
    atomic_store_explicit(&opened, true, memory_order_seq_cst);
    parked_await(2);
}

// The library's variable was the only holder and the library is gone. (Only that it is survived.)
static void closed_hold(void)
{
    place_hold(DATA);
    dlclose(library);
    library = NULL;
    witness_collect(witness.size);
    library_open();
    witness_make(&witness, WITNESS_SIZE);
    witness_put(library_place(DATA));
    place_n = DATA;
}

// ---- the DTV in cached thread blocks -----------------------------------------------------------

#define DTV_THREADS 16

static pthread_barrier_t dtv_barrier;
static int dtv_round;

// Every thread stores its own objects in the library's thread-local variables and finds them later.
static void *dtv_thread(void *arg)
{
    static const int which[] = {TLS, TLS_DATA, TLS_BIG, TLS_ALIGNED};
    for (size_t i = 0; i < 4; i++) {
        unsigned char **where = library_place(which[i]);
        uintptr_t fresh = which[i] == TLS_DATA ? 7 : 0;
        WITNESS_NEED((uintptr_t)*where == fresh, "a new thread's variable %zu is %p", i,
                     (void *)*where);
        *where = malloc(304);
        witness_fill(*where, 304, (uint64_t)(uintptr_t)where);
    }
    pthread_barrier_wait(&dtv_barrier);
    pthread_barrier_wait(&dtv_barrier);
    for (size_t i = 0; i < 4; i++) {
        unsigned char **where = library_place(which[i]);
        WITNESS_NEED(witness_compare(*where, 304, (uint64_t)(uintptr_t)where) == 304,
                     "round %d: lost from thread-local variable %zu", dtv_round, i);
    }
    return arg;
}

// The sizes of DTVs and TLS blocks, so that a reclaimed one is soon overwritten.
static void dtv_churn(void)
{
    for (int i = 0; i < 3; i++) {
        witness_wipe();
        salvage_collect();
        for (size_t size = 256; size <= 1024; size += 16)
            witness_churn(size);
        witness_churn((sizeof(uintptr_t) << 15) + 8192);
    }
}

static void dtv_hold(void)
{
    library_open();
    pthread_barrier_init(&dtv_barrier, NULL, DTV_THREADS + 1);
    for (dtv_round = 0; dtv_round < 5; dtv_round++) {
        pthread_t t[DTV_THREADS];
        for (int i = 0; i < DTV_THREADS; i++)
            WITNESS_NEED(pthread_create(&t[i], NULL, dtv_thread, NULL) == 0, "pthread_create");
        pthread_barrier_wait(&dtv_barrier);
        dtv_churn();
        pthread_barrier_wait(&dtv_barrier);
        for (int i = 0; i < DTV_THREADS; i++)
            pthread_join(t[i], NULL);
        dtv_churn();
    }
    place_n = TLS;
    witness_put(library_place(TLS));
}

// The loader's own lists, which grow with every dlopen, survive collections and still work.
static void reopen_hold(void)
{
    for (int i = 0; i < 20; i++) {
        library_open();
        void *p = dlsym(library, "holder_data");
        Dl_info info;
        WITNESS_NEED(p && dladdr(p, &info) && strcmp(info.dli_sname, "holder_data") == 0,
                     "dladdr after %d rounds", i);
        witness_wipe();
        salvage_collect();
        witness_churn(1200);
        WITNESS_NEED(dlclose(library) == 0, "dlclose");
    }
    place_hold(TLS_BIG);
}

static const struct place places[] = {
    {"data", data_hold, place_drop, 0},
    {"bss", bss_hold, place_drop, 0},
    {"big bss", big_hold, place_drop, 0},
    {"TLS of main", tls_hold, place_drop, 0},
    {"TLS of main, initialised", tls_data_hold, place_drop, 0},
    {"TLS of main, big", tls_big_hold, place_drop, 0},
    {"TLS of main, page-aligned", tls_aligned_hold, place_drop, 0},
    {"TLS of a thread", thread_tls_hold, place_thread_drop, 0},
    {"TLS of a thread, initialised", thread_tls_data_hold, place_thread_drop, 0},
    {"TLS of a thread, big", thread_tls_big_hold, place_thread_drop, 0},
    {"TLS of a thread, page-aligned", thread_tls_aligned_hold, place_thread_drop, 0},
    {"TLS of a thread older than the library", early_hold, place_thread_drop, 0},
    {"closed and opened again", closed_hold, place_drop, 0},
    {"DTV in cached thread blocks", dtv_hold, place_drop, 0},
    {"dlopen and dlclose", reopen_hold, place_drop, 0},
};

// Builds lib/holder.c into dir; its path is in the environment then. The source lies beside this
// file.
static bool library_build(const char *dir)
{
    char source[PATH_MAX], here[] = __FILE__, path[PATH_MAX], command[3 * PATH_MAX];
    snprintf(source, sizeof source, "%s/lib/holder.c", dirname(here));
    snprintf(path, sizeof path, "%s/holder.so", dir);
    snprintf(command, sizeof command,
             "env -u LD_PRELOAD cc -shared -fPIC -O1 -ftls-model=global-dynamic -o '%s' '%s'", path,
             source);
    setenv("HOLDER", path, 1);
    return system(command) == 0;
}

int main(int argc, char **argv)
{
    if (salvage_collect == NULL || argc > 1)
        return place_main(argc, argv, places, sizeof places / sizeof places[0], 30);
    char dir[] = "/tmp/holder.XXXXXX";
    if (mkdtemp(dir) == NULL || !library_build(dir)) {
        printf("FAIL can't build lib/holder.c (run from the repository's top)\n");
        printf("0 passed, 1 failed\n");
        return 1;
    }
    int rc = place_main(argc, argv, places, sizeof places / sizeof places[0], 30);
    unlink(getenv("HOLDER"));
    rmdir(dir);
    return rc;
}
