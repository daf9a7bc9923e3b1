/* Children: fork, files, exec.
 *
 * Between fork and exec only what is safe in a signal handler is called, since other threads may
 * have held locks. A failure there comes back through a pipe that a successful exec closes. */
#include "crossframe/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static cf_status open_files(int fd[3], const cf_process_options *o)
{
    const char *path[] = { "/dev/null", o->output, o->errors };
    const int append = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    fd[0] = open(path[0], O_RDONLY | O_CLOEXEC);
    fd[1] = open(path[1], append | (o->cut_output ? O_TRUNC : 0), 0666);
    fd[2] = open(path[2], append, 0666);
    for (int i = 0; i < 3; i++)
        if (fd[i] < 0) return CF_FAIL(CF_EIO, "cannot open %s: %s", path[i], strerror(errno));
    return CF_OK;
}

/* In the child. Returns only when something fails, with errno. */
static void become(const cf_process_options *o, const int fd[3], pid_t parent)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
#ifdef __linux__
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return;
    if (getppid() != parent) return; /* it has ended already */
#else
    (void)parent;
#endif
    if (setpgid(0, 0) != 0) return;
    sigaction(SIGINT, &standard, NULL);
    sigaction(SIGTERM, &standard, NULL);
    for (int i = 0; i < 3; i++)
        if (dup2(fd[i], i) < 0) return;
    execve(o->program, (char *const *)o->arguments, (char *const *)o->environment);
}

/* What the child could not do, by its errno; 0: it runs. */
static int failure_of(int from_child)
{
    int failed = 0;
    ssize_t got;
    do {
        got = read(from_child, &failed, sizeof failed);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof failed ? failed : 0;
}

/* Closes pipe[1]. */
static cf_status start(int *out, const cf_process_options *o, const int fd[3], const int pipe[2])
{
    pid_t parent = getpid(), child = fork();
    int why = errno;
    if (child == 0) {
        become(o, fd, parent);
        why = errno;
        (void)!write(pipe[1], &why, sizeof why);
        for (;;) kill(getpid(), SIGKILL); /* no handler or buffer of the parent's is to run */
    }
    close(pipe[1]);
    if (child < 0) return CF_FAIL(CF_EIO, "cannot start a process: %s", strerror(why));
    why = failure_of(pipe[0]);
    if (why != 0) {
        waitpid(child, NULL, 0);
        return CF_FAIL(CF_EIO, "cannot start %s: %s", o->program, strerror(why));
    }
    *out = (int)child;
    return CF_OK;
}

cf_status cf_process_start(int *out, const cf_process_options *o)
{
    int fd[3] = { -1, -1, -1 }, ends[2];
    cf_status status = open_files(fd, o);
    if (status == CF_OK && pipe2(ends, O_CLOEXEC) != 0)
        status = CF_FAIL(CF_EIO, "cannot make a pipe: %s", strerror(errno));
    if (status == CF_OK) {
        status = start(out, o, fd, ends);
        close(ends[0]);
    }
    for (int i = 0; i < 3; i++)
        if (fd[i] >= 0) close(fd[i]);
    return status;
}

bool cf_process_ended(int *exit_status, int id)
{
    int status;
    if (waitpid(id, &status, WNOHANG) != id) return false;
    *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return true;
}

void cf_process_ask(int id) { kill(id, SIGTERM); }

void cf_process_kill(int id)
{
    kill(id, SIGKILL);
    while (waitpid(id, NULL, 0) < 0 && errno == EINTR) {}
}

void cf_sleep(double seconds)
{
    const struct timespec t = { (time_t)seconds,
                                (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&t, NULL);
}

bool cf_folder_is_locked(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd); /* and with it the lock */
    return locked;
}
