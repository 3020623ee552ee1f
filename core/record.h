// Writing a raw record (docs/raw-record.md): lines of text into a descriptor.
#ifndef SV_RECORD_H
#define SV_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

struct sv_record {
    int fd;            // -1: nothing is written
    int failed;        // 0, or -errno: what follows is dropped
    struct sv_text t;  // the line
    char buffer[8192]; // of lines
    char path[4096];   // while a name is read: the stack may be a signal handler's small one
};

void sv_record_begin(struct sv_record *r, int fd);

// The same conversions as sv_text_put. A call adds at most SV_RECORD_PIECE bytes.
#define SV_RECORD_PIECE 1024
void sv_record_put(struct sv_record *r, const char *format, ...);

// A word of the format: bytes that it doesn't allow are escaped; "" is "-".
void sv_record_word(struct sv_record *r, const char *bytes, size_t n);

void sv_record_seconds(struct sv_record *r, uint64_t tenths); // with one decimal

// Lines that say whose record it is, from /proc (a descriptor; -1: what can't be known is `-`).
void sv_record_process(struct sv_record *r, int procfd);

// Writes the rest. 0, or -errno: the record isn't whole.
int sv_record_end(struct sv_record *r);

#endif
