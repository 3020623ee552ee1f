// Initialisation. The first call of malloc does it, whoever makes it, long before main as a rule;
// there is no constructor, so a program that never allocates pays for nothing. Nothing here
// allocates from the program's heap, uses stdio, or needs a constructor of libc's to have run: the
// environment is found where the kernel put it.
#include "init.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "cycle.h"
#include "exit.h"
#include "fork.h"
#include "link.h"
#include "malloc.h"
#include "metrics.h"
#include "options.h"
#include "os.h"
#include "profile.h"
#include "segv.h"
#include "stats.h"
#include "text.h"
#include "thread.h"
#include "world.h"

bool sv_init_done;

extern void *__libc_stack_end;
extern char **__environ;

// The environment as the kernel laid it out, when libc hasn't set its own variable yet.
static char **environment(void)
{
    if (__environ)
        return __environ;
    char **stack = __libc_stack_end; // argc, argv[argc], NULL, envp[], NULL
    return stack ? stack + 1 + *(const long *)stack + 1 : NULL;
}

static const char *environment_get(const char *name)
{
    size_t n = strlen(name);
    char **env = environment();
    for (; env && *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return *env + n + 1;
    return NULL;
}

// Users of Boehm's collector ask for leaks by a variable of its own; what SALVAGE says has
// precedence.
static const char *options_text(void)
{
    const char *text = environment_get("SALVAGE");
    return !text && environment_get("GC_FIND_LEAK") ? "mode=leaks,exitcode=0" : text;
}

// Our own writable segment: caches, tables and locks, whose words look like pointers into the heap.
static void own_data_exclude(void)
{
    extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));
    uintptr_t base = (uintptr_t)&__ehdr_start;
    const ElfW(Phdr) *phdr = (const ElfW(Phdr) *)(base + __ehdr_start.e_phoff);
    for (unsigned i = 0; i < __ehdr_start.e_phnum; i++) {
        if (phdr[i].p_type != PT_LOAD || !(phdr[i].p_flags & PF_W))
            continue;
        uintptr_t lo = (base + phdr[i].p_vaddr) & ~(uintptr_t)4095;
        uintptr_t hi = (base + phdr[i].p_vaddr + phdr[i].p_memsz + 4095) & ~(uintptr_t)4095;
        sv_cycle_exclude(lo, hi);
    }
}

static int log_open(const char *where)
{
    if (strncmp(where, "fd:", 3) == 0) {
        int fd = 0;
        for (const char *c = where + 3; *c >= '0' && *c <= '9'; c++)
            fd = fd * 10 + (*c - '0');
        return fd;
    }
    char path[300];
    struct sv_text t = sv_text_start(path, sizeof path - 1);
    sv_text_path(&t, where);
    *t.p = 0;
    int fd = sv_os_open_high(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0) {
        sv_log("salvage: SALVAGE: option 'log': can't open '%s', stderr is used", path);
        return 2;
    }
    return fd;
}

void sv_init(void)
{
    static bool begun; // single-threaded: before the first malloc there is no second thread
    if (begun)
        return;
    begun = true;
    if (!getauxval(AT_SECURE))
        sv_options_parse(options_text());
    if (!sv_first_here())
        sv_options.mode = SV_MODE_OFF;
    if (strcmp(sv_options.log, "stderr") != 0)
        sv_log_set(log_open(sv_options.log));
    sv_profile_init();
    sv_malloc_init();
    sv_stats_start(sv_os_now());
    sv_metrics_start();
    own_data_exclude();
    if (sv_options.barrier == SV_BARRIER_MPROTECT && sv_options.mode != SV_MODE_OFF)
        sv_segv_init();
    sv_cycle_init();
    if (sv_first_here()) {
        sv_link_init();
        sv_thread_init();
        sv_fork_init();
        sv_world_self();
        sv_exit_init();
    }
    sv_init_done = true;
}
