// What all peers do: read the arguments that Job.Args makes, and die with whoever started them.
#pragma once

#include "loops.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

inline job parse(int argc, char **argv) {
    if (argc != 9)
        die("usage: SUBJECT LOOP SIZES WORKERS WORKER NANOSECONDS TIMED ,CPUS");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    job j{argv[1], argv[2], argv[3], strtoull(argv[4], nullptr, 10), 0, strtoull(argv[6], nullptr, 10),
          argv[7][0] == '1', argv[8]};
    if (j.workers < 1 || j.workers > max_workers)
        die("impossible number of workers");
    return j;
}

// pin binds the calling thread to the processor of its worker, if there is one.
inline void pin(const job &j) {
    int cpus[1024], n = 0;
    for (const char *s = j.cpus; *s && n < 1024;) {
        if (*s == ',') {
            s++;
            continue;
        }
        cpus[n++] = int(strtol(s, const_cast<char **>(&s), 10));
    }
    if (n == 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpus[j.worker % n], &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("cannot bind to a processor");
}

// in_threads calls f for every worker in a thread of its own.
template <class F> void in_threads(const job &j, F f) {
    struct task {
        F *f;
        job j;
        pthread_t thread;
    };
    static task tasks[max_workers];
    for (uint64_t i = 0; i < j.workers; i++) {
        tasks[i].f = &f;
        tasks[i].j = j;
        tasks[i].j.worker = i;
        auto body = [](void *p) -> void * {
            task *t = static_cast<task *>(p);
            pin(t->j);
            (*t->f)(t->j);
            return nullptr;
        };
        if (pthread_create(&tasks[i].thread, nullptr, body, &tasks[i]))
            die("cannot start a thread");
    }
    for (uint64_t i = 0; i < j.workers; i++)
        pthread_join(tasks[i].thread, nullptr);
}

// in_processes calls f for every worker in a process of its own. When one fails the others are ended.
template <class F> void in_processes(const job &j, F f) {
    for (uint64_t i = 0; i < j.workers; i++) {
        pid_t parent = getpid(), pid = fork();
        if (pid < 0)
            die("cannot fork");
        if (pid > 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        job mine = j;
        mine.worker = i;
        pin(mine);
        f(mine);
        _exit(0);
    }
    for (uint64_t i = 0; i < j.workers; i++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            die("a worker failed"); // and the others die with this process
    }
}
