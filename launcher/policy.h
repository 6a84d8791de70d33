/* The limits in force, as the service publishes them (docs/formats.md). */
#ifndef POLICY_H
#define POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_MAX (1 << 20)    /* a larger file is not one of ours */
#define POLICY_PATTERN_MAX 1024 /* a longer pattern matches nothing */
#define POLICY_PATH_MAX 1024

struct policy {
    const char *text; /* the file's bytes, owned by the caller; may be empty */
    size_t length;
};

struct limits {
    uint64_t timeout_ms, memory_bytes; /* 0: none */
    bool enforce;
};

struct policy_global {
    uint64_t grace_ms, background_ms;
    bool autostart;
    char cgroup[POLICY_PATH_MAX]; /* a folder in which we may make cgroups, "" if none */
    char cgroup_from[POLICY_PATH_MAX]; /* the cgroup below which one must be to get there */
};

/* Whose limits are asked for. */
struct subject {
    const char *project; /* key in 16 digits, "" if none */
    const char *key;     /* the hook's key */
    const char *command, *event;
};

struct policy policy_load(const char *path, char *buffer, size_t capacity);
struct policy_global policy_global(const struct policy *policy);
struct limits policy_limits(const struct policy *policy, const struct subject *subject);

#endif
