/* Prints what a policy says of hooks, for comparison with the publisher.
 *
 * Arguments: the policy's path. On stdin, again and again, each ended by a NUL: the project's key, the
 * hook's key, the event, the command. On stdout for each a line `timeout_ms memory_bytes mode`. */
#include <stdio.h>
#include <stdlib.h>

#include "policy.h"

#define FIELDS 4

static char buffer[POLICY_MAX];

int main(int argc, char **argv)
{
    char *fields[FIELDS] = {NULL};
    size_t sizes[FIELDS] = {0};
    if (argc != 2)
        return 2;
    struct policy policy = policy_load(argv[1], buffer, sizeof buffer);
    for (;;) {
        for (int i = 0; i < FIELDS; i++)
            if (getdelim(&fields[i], &sizes[i], '\0', stdin) < 0) {
                for (int j = 0; j < FIELDS; j++)
                    free(fields[j]);
                return i == 0 ? 0 : 2;
            }
        struct subject subject = {
            .project = fields[0], .key = fields[1], .event = fields[2], .command = fields[3]};
        struct limits limits = policy_limits(&policy, &subject);
        printf("%llu %llu %s\n", (unsigned long long)limits.timeout_ms,
               (unsigned long long)limits.memory_bytes, limits.enforce ? "enforce" : "observe");
    }
}
