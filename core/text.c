// Text without stdio: a formatter of a few conversions into a caller's buffer, one write a line.
// Usable anywhere, the world stopped included; never allocates, never touches errno.
#include "text.h"

#include <stdlib.h>

#include "os.h"
#include "worker.h"

static int log_fd = 2;

static void text_char(struct sv_text *t, char c)
{
    if (t->p < t->end)
        *t->p++ = c;
}

static void text_string(struct sv_text *t, const char *s)
{
    for (s = s ? s : "(null)"; *s; s++)
        text_char(t, *s);
}

static void text_number(struct sv_text *t, uint64_t v, unsigned radix)
{
    char digits[24];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % radix];
        v /= radix;
    } while (v);
    while (n)
        text_char(t, digits[--n]);
}

void sv_text_putv(struct sv_text *t, const char *format, va_list args)
{
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            text_char(t, *f);
            continue;
        }
        switch (*++f) {
        case 's':
            text_string(t, va_arg(args, const char *));
            break;
        case 'c':
            text_char(t, (char)va_arg(args, int));
            break;
        case 'd': {
            int v = va_arg(args, int);
            if (v < 0)
                text_char(t, '-');
            text_number(t, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v, 10);
            break;
        }
        case 'u':
            text_number(t, va_arg(args, unsigned), 10);
            break;
        case 'U':
            text_number(t, va_arg(args, uint64_t), 10);
            break;
        case 'x':
            text_number(t, va_arg(args, uint64_t), 16);
            break;
        case 'z':
            text_number(t, va_arg(args, size_t), 10);
            break;
        case 'p':
            text_string(t, "0x");
            text_number(t, (uintptr_t)va_arg(args, const void *), 16);
            break;
        default:
            text_char(t, *f);
        }
    }
}

void sv_text_put(struct sv_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sv_text_putv(t, format, args);
    va_end(args);
}

void sv_text_fixed(struct sv_text *t, uint64_t v, unsigned decimals)
{
    uint64_t unit = 1;
    for (unsigned i = 0; i < decimals; i++)
        unit *= 10;
    text_number(t, v / unit, 10);
    if (decimals)
        text_char(t, '.');
    for (unsigned i = 0; i < decimals; i++) {
        v %= unit;
        unit /= 10;
        text_char(t, (char)('0' + v / unit));
    }
}

void sv_text_path(struct sv_text *t, const char *pattern)
{
    for (const char *c = pattern; *c; c++) {
        if (c[0] == '%' && c[1] == 'p') {
            text_number(t, (uint64_t)sv_os_getpid(), 10);
            c++;
        } else {
            text_char(t, *c);
        }
    }
}

// The only way out of this file: every line to the log and to stderr goes through here.
// The collector's own threads don't have the program's descriptors: they borrow one for each line.
static void line_write(int fd, const char *line, size_t bytes)
{
    bool worker = sv_worker_here();
    int to = worker ? sv_worker_borrow(fd) : fd;
    sv_os_write(to, line, bytes);
    if (worker && to != fd && to >= 0)
        sv_os_close(to);
}

static void text_line(int fd, const char *prefix, const char *format, va_list args)
{
    char buffer[1024];
    struct sv_text t = sv_text_start(buffer, sizeof buffer - 1);
    text_string(&t, prefix);
    sv_text_putv(&t, format, args);
    *t.p++ = '\n'; // the last byte was kept free for it
    line_write(fd, buffer, (size_t)(t.p - buffer));
}

void sv_log(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_line(log_fd, "", format, args);
    va_end(args);
}

void sv_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_line(2, "", format, args);
    va_end(args);
}

void sv_log_set(int fd)
{
    log_fd = fd;
}

_Noreturn void sv_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_line(2, "salvage: ", format, args);
    va_end(args);
    abort();
}
