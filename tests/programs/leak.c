/* Leaks anonymous memory at a steady pace: leak <megabytes per second> <megabytes in all> [<seconds to stay>].
 * The pace is kept by the clock, so that it holds on a busy machine too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void nap(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&time, NULL);
}

int main(int count, char **words)
{
    if (count < 3)
        return 64;
    double pace = atof(words[1]) * 1048576, total = atof(words[2]) * 1048576, done = 0;
    size_t step = 256 << 10;
    double begin = now();
    while (done < total) {
        if (done / pace > now() - begin) {
            nap(0.0002);
            continue;
        }
        char *piece = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece == MAP_FAILED)
            return 65;
        memset(piece, 1, step);
        done += (double)step;
    }
    puts("leaked it all");
    fflush(stdout);
    if (count > 3)
        nap(atof(words[3]));
    return 0;
}
