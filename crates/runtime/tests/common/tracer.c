/* Test tracer: traces the process named by the argument and its children to its end, says what seccomp filters tell
 * ("told 77"), and lets the calls fail with ENOMEDIUM. Writes "tracing" once it does. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

int main(int argc, char **argv) {
    int status, pid = argc == 2 ? atoi(argv[1]) : -1;
    long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    if (ptrace(PTRACE_SEIZE, pid, 0, options)) return 2;
    puts("tracing");
    fflush(stdout);
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        unsigned long told;
        struct user_regs_struct registers;
        if (!WIFSTOPPED(status)) continue;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
            ptrace(PTRACE_GETEVENTMSG, pid, 0, &told);
            printf("told %lu\n", told);
            fflush(stdout);
            ptrace(PTRACE_GETREGS, pid, 0, &registers);
            registers.orig_rax = -1; /* no call is made, and this is what it returns */
            registers.rax = -ENOMEDIUM;
            ptrace(PTRACE_SETREGS, pid, 0, &registers);
        }
        int signal = status >> 16 ? 0 : WSTOPSIG(status);
        ptrace(PTRACE_CONT, pid, 0, signal == SIGTRAP || signal == SIGSTOP ? 0 : signal);
    }
    return 0;
}
