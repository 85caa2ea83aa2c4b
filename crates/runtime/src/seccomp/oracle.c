/* Test oracle. With one argument: compiles a policy with libseccomp. Reads lines from standard input
 *   default ACTION | arch TOKEN | rule ACTION NAME COUNT [INDEX OP A B]...
 * writes the filter to the file named by the argument, and names that libseccomp does not know to standard output.
 * With two arguments: writes the filter that a process has got (its only one) to the file. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

struct cmp { unsigned int arg; int op; uint64_t a, b; };
void *seccomp_init(uint32_t);
int seccomp_arch_add(void *, uint32_t);
int seccomp_syscall_resolve_name(const char *);
int seccomp_rule_add_array(void *, uint32_t, int, unsigned int, const struct cmp *);
int seccomp_export_bpf(void *, int);

static int dump(int pid, int fd) {
    char program[8 * 4096];
    long count;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, 0, __WALL) != pid) return 7;
    count = ptrace((enum __ptrace_request)0x420c /* PTRACE_SECCOMP_GET_FILTER */, pid, 0, program);
    if (count < 0) return 8;
    return write(fd, program, count * 8) == count * 8 ? 0 : 9;
}

int main(int argc, char **argv) {
    char word[16], name[64];
    void *ctx = 0;
    unsigned int number;
    int fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (argc == 3) return dump(atoi(argv[2]), fd);
    while (argc == 2 && scanf("%15s %u", word, &number) == 2) {
        if (!strcmp(word, "default")) ctx = seccomp_init(number);
        else if (!strcmp(word, "arch")) { int r = seccomp_arch_add(ctx, number); if (r && r != -EEXIST) return 2; }
        else {
            unsigned int n; struct cmp c[6];
            if (scanf("%63s %u", name, &n) != 2 || n > 6) return 3;
            for (unsigned int i = 0; i < n; i++)
                if (scanf("%u %d %lu %lu", &c[i].arg, &c[i].op, &c[i].a, &c[i].b) != 4) return 4;
            int nr = seccomp_syscall_resolve_name(name);
            if (nr == -1) { puts(name); continue; }
            int r = seccomp_rule_add_array(ctx, number, nr, n, c);
            if (r && r != -EEXIST) { fprintf(stderr, "%s: %d\n", name, r); return 5; }
        }
    }
    return !ctx || fd < 0 || seccomp_export_bpf(ctx, fd) ? 6 : 0;
}
