// Lines of text for people, made without stdio: it would allocate, and it may be what was
// interrupted.
#ifndef SV_TEXT_H
#define SV_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct sv_text {
    char *p;   // where the next character goes
    char *end; // one past the buffer; what doesn't fit is dropped
    char *start;
};

static inline struct sv_text sv_text_start(char *buffer, size_t bytes)
{
    return (struct sv_text){buffer, buffer + bytes, buffer};
}

// %s string, %c char, %d int, %u unsigned, %U uint64_t, %z size_t, %p pointer (0x...), %x uint64_t
// in hexadecimal without 0x, %% itself. Nothing else.
void sv_text_put(struct sv_text *t, const char *format, ...);
void sv_text_putv(struct sv_text *t, const char *format, va_list args);

// v / 10^decimals with all of its decimals (at most 19): 1234 with 3 is "1.234", with 0 "1234".
void sv_text_fixed(struct sv_text *t, uint64_t v, unsigned decimals);

// A file name as an option gives it: every %p in it is the process id.
void sv_text_path(struct sv_text *t, const char *pattern);

// One line to the log (the option `log`; stderr by default), newline added, in one write.
void sv_log(const char *format, ...);

// The same, always to stderr.
void sv_error(const char *format, ...);

// Where the log goes from now on: a descriptor that is open. The default is 2.
void sv_log_set(int fd);

// One line "salvage: ..." to stderr and abort(): for what must never be survived.
_Noreturn void sv_die(const char *format, ...);

#endif
