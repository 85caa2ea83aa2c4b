/* Test oracle: compiles a policy with libseccomp. Reads lines from standard input
 *   default ACTION | arch TOKEN | rule ACTION NAME COUNT [INDEX OP A B]...
 * and writes the filter to the file named by the first argument. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct cmp { unsigned int arg; int op; uint64_t a, b; };
void *seccomp_init(uint32_t);
int seccomp_arch_add(void *, uint32_t);
int seccomp_syscall_resolve_name(const char *);
int seccomp_rule_add_array(void *, uint32_t, int, unsigned int, const struct cmp *);
int seccomp_export_bpf(void *, int);

int main(int argc, char **argv) {
    char word[16], name[64];
    void *ctx = 0;
    unsigned int number;
    while (argc == 2 && scanf("%15s %u", word, &number) == 2) {
        if (!strcmp(word, "default")) ctx = seccomp_init(number);
        else if (!strcmp(word, "arch")) { int r = seccomp_arch_add(ctx, number); if (r && r != -17) return 2; }
        else {
            unsigned int n; struct cmp c[6];
            if (scanf("%63s %u", name, &n) != 2 || n > 6) return 3;
            for (unsigned int i = 0; i < n; i++)
                if (scanf("%u %d %lu %lu", &c[i].arg, &c[i].op, &c[i].a, &c[i].b) != 4) return 4;
            int nr = seccomp_syscall_resolve_name(name);
            if (nr == -1) continue;
            int r = seccomp_rule_add_array(ctx, number, nr, n, c);
            if (r && r != -17) { fprintf(stderr, "%s: %d\n", name, r); if (r != -22) return 5; }
        }
    }
    int fd = argc == 2 ? open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    return !ctx || fd < 0 || seccomp_export_bpf(ctx, fd) ? 6 : 0;
}
