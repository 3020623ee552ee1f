// The barrier and the kernel's own stores: the only pointer to an object is put onto memory already
// scanned by a system call, or by another process, while collections run (lib/trap.h).
//
// What the kernel writes by way of the page table is reported like any other store. What it writes
// to pages that it pinned before (O_DIRECT, io_uring's registered buffers) never comes to the page
// table again: uring_pinned shows it.
//
// SALVAGE: barrier=uffd,checkmark=1,clobber=1
// SALVAGE: barrier=stw,clobber=1
// SALVAGE: chaos=7,clobber=1

#include "lib/trap.h"

#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define WORD sizeof(uintptr_t)

static int ends[2]; // what is written to the second is read from the first

static void pipe_make(void)
{
    WITNESS_NEED(pipe(ends) == 0, "pipe: %s", strerror(errno));
}

static void pointer_send(void)
{
    WITNESS_NEED(write(ends[1], trap->at, WORD) == (ssize_t)WORD, "write: %s", strerror(errno));
}

TRAP(read_pipe)
{
    pipe_make();
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        pointer_send();
        WITNESS_NEED(read(ends[0], cell, WORD) == (ssize_t)WORD, "read: %s", strerror(errno));
        trap_moved(cell);
    }
}

// The second of two parts, the first of which is on another page.
TRAP(read_vector)
{
    pipe_make();
    while (trap_on()) {
        uintptr_t *first = trap_cell(), *cell = trap_cell();
        struct iovec parts[] = {{first, WORD}, {cell, WORD}};
        uintptr_t zero = 0;
        WITNESS_NEED(write(ends[1], &zero, WORD) == (ssize_t)WORD, "write: %s", strerror(errno));
        pointer_send();
        uintptr_t *from = trap->at;
        bool over = from == first; // that one goes, so its pointer must be elsewhere before
        if (over)
            trap_store(&trap_blocks[0][50]);
        WITNESS_NEED(readv(ends[0], parts, 2) == 2 * (ssize_t)WORD, "readv: %s", strerror(errno));
        trap_moved(cell);
    }
}

TRAP(recv_message)
{
    WITNESS_NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "pair: %s", strerror(errno));
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        struct iovec part = {cell, WORD};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        pointer_send();
        WITNESS_NEED(recvmsg(ends[0], &message, 0) == (ssize_t)WORD, "recvmsg: %s",
                     strerror(errno));
        trap_moved(cell);
    }
}

TRAP(read_file)
{
    int fd = memfd_create("trap", MFD_CLOEXEC);
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        WITNESS_NEED(pwrite(fd, trap->at, WORD, 64) == (ssize_t)WORD, "pwrite: %s",
                     strerror(errno));
        WITNESS_NEED(pread(fd, cell, WORD, 64) == (ssize_t)WORD, "pread: %s", strerror(errno));
        trap_moved(cell);
    }
}

TRAP(process_read)
{
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        struct iovec to = {cell, WORD}, from = {trap->at, WORD};
        WITNESS_NEED(process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)WORD,
                     "process_vm_readv: %s", strerror(errno));
        trap_moved(cell);
    }
}

// A socket keeps 8 bytes that mean nothing here, and returns them.
TRAP(socket_option)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        socklen_t n = WORD;
        if (setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, trap->at, WORD) != 0)
            witness_skip("no SO_MAX_PACING_RATE");
        WITNESS_NEED(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, cell, &n) == 0 && n == WORD,
                     "getsockopt: %s", strerror(errno));
        trap_moved(cell);
    }
}

// ---- epoll --------------------------------------------------------------------------------------

static int epoll_made[2]; // the set, and what is always ready in it

static void epoll_make(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    epoll_made[0] = epoll_create1(EPOLL_CLOEXEC);
    epoll_made[1] = eventfd(1, EFD_CLOEXEC);
    WITNESS_NEED(epoll_ctl(epoll_made[0], EPOLL_CTL_ADD, epoll_made[1], &event) == 0, "epoll: %s",
                 strerror(errno));
}

static witness_noinline void epoll_give(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = *(volatile uintptr_t *)trap->at};
    WITNESS_NEED(epoll_ctl(epoll_made[0], EPOLL_CTL_MOD, epoll_made[1], &event) == 0, "epoll: %s",
                 strerror(errno));
    memset((void *)&event, 0, sizeof event);
    __asm__ volatile("" ::"r"(&event) : "memory");
}

// The data stands 4 bytes after the event's start.
static witness_noinline void epoll_take(uintptr_t *cell)
{
    struct epoll_event *event = (struct epoll_event *)((char *)cell - 4);
    WITNESS_NEED(epoll_wait(epoll_made[0], event, 1, -1) == 1, "epoll_wait: %s", strerror(errno));
}

TRAP(epoll_data)
{
    epoll_make();
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        epoll_give();
        epoll_take(cell);
        trap_moved(cell);
    }
}

// For a while nobody but the kernel has it.
TRAP(epoll_only)
{
    epoll_make();
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        epoll_give();
        *(volatile uintptr_t *)trap->at = 0;
        witness_wipe();
        epoll_take(cell);
        trap_moved(cell);
    }
}

// ---- io_uring -----------------------------------------------------------------------------------

static struct {
    int fd;
    uint32_t *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static void *ring_map(size_t bytes, off_t offset)
{
    return trap_memory(
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset));
}

static void ring_make(void)
{
    struct io_uring_params p = {0};
    ring.fd = (int)syscall(SYS_io_uring_setup, 4, &p);
    if (ring.fd < 0)
        witness_skip("no io_uring");
    char *sq = ring_map(p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
    char *cq =
        ring_map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.sqes = ring_map(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring.sq_tail = (uint32_t *)(sq + p.sq_off.tail);
    ring.sq_mask = (uint32_t *)(sq + p.sq_off.ring_mask);
    ring.sq_array = (uint32_t *)(sq + p.sq_off.array);
    ring.cq_head = (uint32_t *)(cq + p.cq_off.head);
    ring.cq_tail = (uint32_t *)(cq + p.cq_off.tail);
    ring.cq_mask = (uint32_t *)(cq + p.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
}

// Reads a word from the pipe to `to` by one request, and waits for its end.
static void ring_read(uint8_t opcode, uintptr_t *to)
{
    uint32_t tail = *ring.sq_tail, at = tail & *ring.sq_mask, head = *ring.cq_head;
    ring.sqes[at] = (struct io_uring_sqe){
        .opcode = opcode, .fd = ends[0], .addr = (uintptr_t)to, .len = WORD, .off = UINT64_MAX};
    ring.sq_array[at] = at;
    __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
    long r = syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    WITNESS_NEED(r == 1, "io_uring_enter: %ld, %s", r, strerror(errno));
    while (__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) == head)
        sched_yield();
    int32_t result = ring.cqes[head & *ring.cq_mask].res;
    WITNESS_NEED(result == WORD, "io_uring: %d", result);
    __atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
}

TRAP(uring_read)
{
    pipe_make();
    ring_make();
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        pointer_send();
        ring_read(IORING_OP_READ, cell);
        trap_moved(cell);
    }
}

// Into memory that was registered, and is pinned since.
TRAP(uring_pinned)
{
    struct iovec memory = {NULL, TRAP_OBJECTS * TRAP_MAP};
    pipe_make();
    ring_make();
    memory.iov_base = trap_memory(calloc(1, memory.iov_len));
    if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &memory, 1) != 0)
        witness_skip("no registered buffers");
    for (unsigned i = 0; i < TRAP_OBJECTS; i++)
        traps[i].map = (uintptr_t *)((char *)memory.iov_base + i * TRAP_MAP);
    while (trap_on()) {
        uintptr_t *from = trap->at, *word = trap_word(), zero = 0;
        pointer_send();
        ring_read(IORING_OP_READ_FIXED, word);
        if (from == (uintptr_t *)&trap->witness.anchor) {
            trap_moved(word);
            continue;
        }
        // the old one goes in the same way, or its page would be reported
        WITNESS_NEED(write(ends[1], &zero, WORD) == (ssize_t)WORD, "write: %s", strerror(errno));
        ring_read(IORING_OP_READ_FIXED, from);
        trap->at = word;
    }
}

// ---- another process ----------------------------------------------------------------------------

struct order {
    uintptr_t *_Atomic place;
    _Atomic uintptr_t inverted;
};

// A forked child writes to the memory of its parent, by process_vm_writev.
static witness_noinline _Noreturn void writes_serve(struct order *order, pid_t parent)
{
    alarm(WITNESS_HANG);
    for (;;) {
        uintptr_t *place;
        while ((place = atomic_load(&order->place)) == NULL)
            sched_yield();
        if (place == (uintptr_t *)order)
            _exit(0);
        uintptr_t value = ~atomic_load(&order->inverted);
        struct iovec from = {&value, sizeof value}, to = {place, sizeof value};
        if (process_vm_writev(parent, &from, 1, &to, 1, 0) != sizeof value)
            _exit(errno == EPERM ? WITNESS_SKIP : 1);
        atomic_store(&order->place, NULL);
    }
}

TRAP(child_writes)
{
    struct order *order = (struct order *)trap_anon(4096, MAP_SHARED);
    pid_t child = fork();
    int status;
    if (child == 0)
        writes_serve(order, getppid());
    while (trap_on()) {
        uintptr_t *word = trap_cell();
        atomic_store(&order->inverted, trap->witness.inverted);
        atomic_store(&order->place, word);
        while (atomic_load(&order->place) != NULL) {
            if (waitpid(child, &status, WNOHANG) == child)
                witness_skip("no process_vm_writev");
            sched_yield();
        }
        trap_moved(word);
    }
    atomic_store(&order->place, (uintptr_t *)order);
    WITNESS_NEED(waitpid(child, &status, 0) == child && status == 0, "the child: %d", status);
}

static const struct place places[] = {
    TRAP_PLACE(read_pipe),    TRAP_PLACE(read_vector),  TRAP_PLACE(recv_message),
    TRAP_PLACE(read_file),    TRAP_PLACE(process_read), TRAP_PLACE(socket_option),
    TRAP_PLACE(epoll_data),   TRAP_PLACE(epoll_only),   TRAP_PLACE(uring_read),
    TRAP_PLACE(uring_pinned), TRAP_PLACE(child_writes),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof *places, 0);
}
