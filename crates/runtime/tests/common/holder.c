/* Holds what criu saves only where an option allows it, and shows a growing number through each; by its arguments:
 * "lock"      holds a lock on /tmp/lock
 * "unlinked"  writes to a file by whose first name nobody finds it any more; /tmp/second is the other one
 * a path      sends datagrams to that socket
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what) {
    perror(what);
    return 1;
}

int main(int count, char **words) {
    int file = -1, line = -1;
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "lock")) {
            int lock = open("/tmp/lock", O_CREAT | O_RDWR, 0600);
            if (lock < 0 || flock(lock, LOCK_EX)) return fail("lock");
        } else if (!strcmp(words[i], "unlinked")) {
            file = open("/tmp/first", O_CREAT | O_RDWR, 0600);
            if (file < 0 || link("/tmp/first", "/tmp/second") || unlink("/tmp/first")) return fail("unlinked");
        } else if (words[i][0] == '/') {
            struct sockaddr_un there = {.sun_family = AF_UNIX};
            strncpy(there.sun_path, words[i], sizeof there.sun_path - 1);
            line = socket(AF_UNIX, SOCK_DGRAM, 0);
            if (line < 0 || connect(line, (struct sockaddr *)&there, sizeof there)) return fail("socket");
        }
    }
    for (int number = 1;; number++) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d\n", number);
        if (file >= 0 && pwrite(file, text, length, 0) != length) return fail("write");
        if (line >= 0) send(line, text, length, MSG_DONTWAIT);
        usleep(50000);
    }
}
