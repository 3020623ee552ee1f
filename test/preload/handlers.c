// Signal handlers of the program's that run while its only thread is inside malloc or collects:
// they may fork, and they may move the only pointer to an object.
// SALVAGE: mode=collect
// SALVAGE: stress=16,checkmark=1,clobber=1
#include "../../preload/include/salvage.h"
#include "check.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORKS 300
#define STARTS 400
#define MOVES 2000
#define WORDS 64

static volatile sig_atomic_t forks, forks_bad, moves;
static uint64_t *volatile places[8]; // exactly one is not NULL
static volatile sig_atomic_t place;

static void timer_stop(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
}

static void fork_handler(int sig)
{
    (void)sig;
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 7)
        forks_bad++;
    if (++forks == FORKS) // a fork may take longer than the timer's period
        timer_stop();
}

// Always towards the front: a scan from the front that this interrupts would see the pointer
// nowhere.
static void move_handler(int sig)
{
    (void)sig;
    int from = place, to = (from + 7) % 8;
    places[to] = places[from];
    places[from] = NULL;
    place = to;
    moves++;
}

static void timer_run(void (*handler)(int), long microseconds)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = handler;
    sa.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &sa, NULL);
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &every, NULL);
}

static void churn(void)
{
    static void *blocks[500];
    for (int i = 0; i < 500; i++) {
        free(blocks[i]);
        blocks[i] = malloc(16 + (size_t)i * 37 % 3000);
    }
    free(realloc(malloc(100000), 300000));
}

static void forks_in_handler(void)
{
    timer_run(fork_handler, 500);
    while (forks < FORKS)
        churn();
    CHECK(forks_bad == 0, "%d of %d forks in a handler went wrong", (int)forks_bad, (int)forks);
}

// A fork ends the collector's threads while they are idle, and the next collection starts them
// again: the handler's own fork finds that under way.
static void forks_at_start(void)
{
    if (!salvage_collect)
        return;
    forks = 0;
    timer_run(fork_handler, 0);
    for (int i = 0; i < STARTS; i++) {
        struct itimerval once = {{0, 0}, {0, 1 + i % 200}};
        int before = forks;
        fork_handler(0);
        setitimer(ITIMER_REAL, &once, NULL);
        salvage_collect();
        while (forks < before + 2)
            ;
    }
    CHECK(forks_bad == 0, "%d of %d forks went wrong", (int)forks_bad, (int)forks);
}

static void moves_in_handler(void)
{
    uint64_t *object = malloc(WORDS * sizeof *object);
    for (int i = 0; i < WORDS; i++)
        object[i] = 0xa5a5000000000000u + (unsigned)i;
    places[0] = object;
    object = NULL;
    timer_run(move_handler, 200);
    while (moves < MOVES) {
        if (salvage_collect)
            salvage_collect();
        churn();
    }
    timer_stop();
    uint64_t *found = places[place];
    for (int i = 0; i < WORDS; i++)
        CHECK(found[i] == 0xa5a5000000000000u + (unsigned)i, "word %d is %llx", i,
              (unsigned long long)found[i]);
}

int main(void)
{
    moves_in_handler();
    forks_in_handler();
    forks_at_start();
    return check_done();
}
