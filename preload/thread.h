// Threads: known from their first instruction, and tidied up after when they end.
#ifndef SV_THREAD_H
#define SV_THREAD_H

// The key whose destructor gives a thread's cache back. At start, before there are other keys.
void sv_thread_init(void);

#endif
