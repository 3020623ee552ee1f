// Text as docs/raw-record.md has it, through a buffer of its own into write(2). Nothing allocates,
// and nothing is a cancellation point; a descriptor that doesn't take more just now is waited for,
// up to a bound.
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "os.h"
#include "scanners.h"

#define WAIT_NS 1000000u
#define WAITS_MAX 5000u // together: so long a descriptor may take nothing

static void record_flush(struct sv_record *r)
{
    unsigned waits = 0;
    for (char *p = r->t.start; p < r->t.p && !r->failed;) {
        long n = sv_os_write(r->fd, p, (size_t)(r->t.p - p));
        if (n > 0) {
            p += n;
            waits = 0;
        } else if (n == -EAGAIN && waits++ < WAITS_MAX) {
            sv_os_nap(WAIT_NS);
        } else if (n != -EINTR) {
            r->failed = n ? (int)n : -EIO;
        }
    }
    r->t.p = r->t.start;
}

void sv_record_begin(struct sv_record *r, int fd)
{
    r->fd = fd;
    r->failed = 0;
    r->t = sv_text_start(r->buffer, sizeof r->buffer);
}

static void room_make(struct sv_record *r, size_t bytes)
{
    if ((size_t)(r->t.end - r->t.p) < bytes)
        record_flush(r);
}

void sv_record_put(struct sv_record *r, const char *format, ...)
{
    va_list args;
    if (r->fd < 0)
        return;
    room_make(r, SV_RECORD_PIECE);
    va_start(args, format);
    sv_text_putv(&r->t, format, args);
    va_end(args);
}

void sv_record_word(struct sv_record *r, const char *bytes, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    if (n == 0)
        sv_record_put(r, "-");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < '!' || c > '~' || c == '%')
            sv_record_put(r, "%%%c%c", hex[c >> 4], hex[c & 15]);
        else
            sv_record_put(r, "%c", c);
    }
}

void sv_record_seconds(struct sv_record *r, uint64_t tenths)
{
    if (r->fd < 0)
        return;
    room_make(r, SV_RECORD_PIECE);
    sv_text_fixed(&r->t, tenths, 1);
}

// Arguments are ended by zeroes, and one space stands between two.
static void cmdline_put(struct sv_record *r, int procfd)
{
    char part[512];
    int fd = procfd < 0 ? procfd : sv_proc_file(procfd, "self/cmdline", O_RDONLY);
    long n = 0, total = 0;
    bool gap = false;
    while (fd >= 0 && (n = sv_os_read(fd, part, sizeof part)) > 0) {
        total += n;
        for (long i = 0; i < n; i++) {
            if (gap)
                sv_record_put(r, "%%20");
            gap = part[i] == 0;
            if (!gap)
                sv_record_word(r, part + i, 1);
        }
    }
    if (fd >= 0)
        sv_os_close(fd);
    if (total == 0)
        sv_record_put(r, "-");
}

void sv_record_process(struct sv_record *r, int procfd)
{
    long n = procfd < 0 ? -1 : sv_os_readlink(procfd, "self/exe", r->path, sizeof r->path);
    sv_record_put(r, "process %d %d ", sv_os_getpid(), sv_os_getppid());
    sv_record_word(r, r->path, n > 0 ? (size_t)n : 0);
    sv_record_put(r, " ");
    cmdline_put(r, procfd);
    sv_record_put(r, "\n");
}

int sv_record_end(struct sv_record *r)
{
    if (r->fd >= 0)
        record_flush(r);
    return r->failed;
}
