// A program that does what its arguments say, one after the other: what test/command.sh asks about
// while it waits.
//   lose N       N objects of 100 bytes are lost        keep N      N are kept
//   closefrom    closes every descriptor from 3 on      chroot DIR  setuid UID  netns  seccomp
//   linked       allocates until the link is there
//   reap         waits for the child
//   fork         the child goes on from here, the parent too
//   exec ARG...  the rest of the arguments in a new image of this program
//   say TEXT     a line on stdout                       fds         a line: descriptors open
//   wait         until SIGUSR1 (a line says "ready PID")
//   collect      a whole collection
//   exit N, kill N                                      churn       allocates and loses for ever
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "salvage.h"

static void *kept;
static volatile char *volatile last;

__attribute__((noinline)) static void objects_lose(int n)
{
    for (int i = 0; i < n; i++) {
        last = malloc(100);
        last[0] = 1;
    }
    last = NULL;
}

static void objects_keep(int n)
{
    for (int i = 0; i < n; i++) {
        void **p = malloc(100);
        *p = kept;
        kept = p;
    }
}

static void need(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "actor: %s: %s\n", what, strerror(errno));
    exit(99);
}

static int descriptors_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = -3; // ".", "..", and the folder's own
    need(dir != NULL, "/proc/self/fd");
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void filter_set(void)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    need(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0, "seccomp");
}

static void signal_await(void)
{
    sigset_t set;
    int sig;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    sigwait(&set, &sig);
}

// Is the name of our link listed?
static int link_listed(void)
{
    char prefix[64], line[512];
    int found = 0;
    snprintf(prefix, sizeof prefix, "@salvage/%d/", (int)getpid());
    FILE *list = fopen("/proc/self/net/unix", "r");
    need(list != NULL, "/proc/self/net/unix");
    while (!found && fgets(line, sizeof line, list))
        found = strstr(line, prefix) != NULL;
    fclose(list);
    return found;
}

static void link_await(void)
{
    while (!link_listed()) {
        objects_keep(1);
        usleep(1000);
    }
}

static void churn(void)
{
    for (;;)
        objects_lose(1000);
}

// How many arguments the action took.
static int act(char **argv)
{
    const char *verb = argv[0], *arg = argv[1] ? argv[1] : "";
    if (!strcmp(verb, "lose"))
        return objects_lose(atoi(arg)), 2;
    if (!strcmp(verb, "keep"))
        return objects_keep(atoi(arg)), 2;
    if (!strcmp(verb, "chroot"))
        return need(chroot(arg) == 0 && chdir("/") == 0, "chroot"), 2;
    if (!strcmp(verb, "setuid"))
        return need(setuid((uid_t)atoi(arg)) == 0, "setuid"), 2;
    if (!strcmp(verb, "say"))
        return puts(arg), fflush(stdout), 2;
    if (!strcmp(verb, "exit"))
        exit(atoi(arg));
    if (!strcmp(verb, "kill"))
        return kill(getpid(), atoi(arg)), 2;
    if (!strcmp(verb, "closefrom"))
        return closefrom(3), 1;
    if (!strcmp(verb, "netns"))
        return need(unshare(CLONE_NEWNET) == 0, "unshare"), 1;
    if (!strcmp(verb, "seccomp"))
        return filter_set(), objects_keep(200), 1;
    if (!strcmp(verb, "fork"))
        return need(fork() >= 0, "fork"), objects_keep(1), 1;
    if (!strcmp(verb, "fds"))
        return printf("fds %d\n", descriptors_count()), fflush(stdout), 1;
    if (!strcmp(verb, "collect"))
        return need(salvage_collect != NULL, "salvage_collect"), salvage_collect(), 1;
    if (!strcmp(verb, "linked"))
        return link_await(), 1;
    if (!strcmp(verb, "reap"))
        return wait(NULL), 1;
    if (!strcmp(verb, "wait"))
        return signal_await(), 1;
    if (!strcmp(verb, "churn"))
        churn();
    if (!strcmp(verb, "exec"))
        return execv("/proc/self/exe", argv), need(0, "exec"), 1;
    errno = EINVAL;
    need(0, verb);
    return 1;
}

int main(int argc, char **argv)
{
    for (int at = 1; at < argc;)
        at += act(argv + at);
    return 0;
}
