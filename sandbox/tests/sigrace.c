/*
 * usage: sigrace ROUNDS [restart]. A handler writes to a pipe that poll waits for: a wait that runs into its
 * timeout means that the wake-up was lost between the host's test and its system call.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

static int ends[2];

static void
on_alarm(int number)
{
    write(ends[1], "x", 1);
}

int
main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], 0, 10) : 1000, lost = 0;
    struct sigaction action = { .sa_handler = on_alarm, .sa_flags = argc > 2 ? SA_RESTART : 0 };

    pipe(ends);
    sigaction(SIGALRM, &action, 0);
    for (int i = 0; i < rounds && lost < 20; i++) {
        struct itimerval soon = { { 0, 0 }, { 0, 1 + i % 40 } };
        struct pollfd end = { ends[0], POLLIN, 0 };
        char byte;
        int ready;

        setitimer(ITIMER_REAL, &soon, 0);
        for (volatile int spin = 0; spin < i * 37 % 3000; spin++) {
        }
        while ((ready = poll(&end, 1, 300)) < 0) {
        }
        if (ready == 0) {
            lost++;
            while (poll(&end, 1, 300) <= 0) {
            }
        }
        read(ends[0], &byte, 1);
    }
    printf("%d lost\n", lost);
    return lost != 0;
}
