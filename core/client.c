// Who the client is, and its lock. See client.h.
#include "client.h"

const struct sv_client *sv_client;
struct sv_lock sv_client_lock;
