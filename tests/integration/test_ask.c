/* test_ask.c: omnid-ask at the command line, with a daemon and without. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

static process daemon_one;

static int start_daemon(void **state)
{
    (void)state;
    process_start(&daemon_one, OMNID,
                  (const char *[]){"--model=" TEST_MODEL, "--model.threads=1",
                                   "--camera.x.video=test:ball,size=56x56,fps=2", NULL});
    process_wait_segments(&daemon_one, NULL, 1);
    return 0;
}

static int stop_daemon(void **state)
{
    (void)state;
    return process_stop(&daemon_one, SIGTERM, NULL);
}

static char out[65536];

/* Runs omnid-ask with arguments as a shell reads them; both outputs land in out. */
static int run(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof command, "%s %s 2>&1", OMNID_ASK, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t n = fread(out, 1, sizeof out - 1, pipe);
    out[n] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void expect(const char *arguments, int code, const char *words)
{
    int found = run(arguments);
    if (found != code || !strstr(out, words))
        fail_msg("omnid-ask %s: want exit %d and '%s', found %d and '%s'", arguments, code, words, found, out);
}

/* The arguments behind --socket of the daemon. */
static void expect_asked(const char *arguments, int code, const char *words)
{
    char all[768];
    snprintf(all, sizeof all, "--socket %s %s", daemon_one.ask, arguments);
    expect(all, code, words);
}

static void answers_come_as_text_or_json(void **state)
{
    (void)state;
    expect_asked("--max-tokens 5 --timings What is it", 0, "first token");
    assert_non_null(strstr(out, "evidence: 20"));
    expect_asked("--json --max-tokens 5 'What is it'", 0, "\"event\":\"done\"");
    int n_tokens = 0;
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *event = json_loads(line, 0, NULL);
        assert_non_null(event);
        n_tokens += strcmp(text_at(event, "event"), "token") == 0;
        json_decref(event);
    }
    assert_true(n_tokens >= 1);
    expect_asked("--choice yes --choice no --no-now --last 4 --retention 20 'Is it?'", 0, "* ");
    assert_non_null(strstr(out, "%  no"));
    expect_asked("--status", 0, "\"state\": \"ready\"");
    expect_asked("--sources", 0, "\"scheme\": \"test\"");
    expect_asked("--timeline", 0, "\"segments\"");
    expect_asked("--forget --json", 0, "\"event\":\"forget\"");
    process_wait_segments(&daemon_one, NULL, 1);
}

/* Files in the folder whose names have the part; *first (may be NULL) gets the path of the first of them. */
static int count_files(const char *folder, const char *part, char *first, size_t n_first)
{
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort), n_found = 0;
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        if (strstr(names[i]->d_name, part) && n_found++ == 0 && first)
            snprintf(first, n_first, "%s/%s", folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return n_found;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* The first bytes of a file as "ff d8 …", and the comment in it. */
static void assert_our_jpeg(const char *path)
{
    char start[256] = "";
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t n = fread(start, 1, sizeof start, file);
    fclose(file);
    assert_memory_equal(start, "\xff\xd8\xff", 3);
    assert_non_null(memmem(start, n, "omnid: camera x, segment ", strlen("omnid: camera x, segment ")));
}

static void frames_are_saved_as_files(void **state)
{
    (void)state;
    char all[512], folder[128], first[512], path[160];
    snprintf(folder, sizeof folder, "%s/seen", daemon_one.folder);
    snprintf(all, sizeof all, "--frames %s", folder);
    process_wait_segments(&daemon_one, NULL, 2);
    expect_asked(all, 0, "-x-s0");
    int n = count_files(folder, ".jpg", first, sizeof first);
    assert_true(n >= 8); /* two whole segments and what there is of the open one */
    assert_int_equal(count_files(folder, ".part", NULL, 0), 0);
    assert_our_jpeg(first);
    expect_asked(all, 0, first); /* its own files may be written again */
    write_text(first, "a letter to my aunt");
    expect_asked(all, 1, "was not made by omnid-ask: not overwritten");
    snprintf(all, sizeof all, "--frames %s/asked --width 16 --max-tokens 3 What is it", daemon_one.folder);
    expect_asked(all, 0, "/asked/20");
    snprintf(path, sizeof path, "%s/asked", daemon_one.folder);
    assert_true(count_files(path, ".jpg", first, sizeof first) >= 1);
    assert_our_jpeg(first);
    snprintf(all, sizeof all, "--frames %s/x.conf --max-tokens 3 What", daemon_one.folder);
    snprintf(path, sizeof path, "%s/x.conf", daemon_one.folder);
    write_text(path, "");
    expect_asked(all, 1, "cannot make the folder");
}

static void one_frame_is_a_file_or_standard_output(void **state)
{
    (void)state;
    char all[512], path[128];
    snprintf(path, sizeof path, "%s/one.jpg", daemon_one.folder);
    snprintf(all, sizeof all, "--frame %s", path);
    expect_asked(all, 0, "one.jpg");
    assert_our_jpeg(path);
    expect_asked(all, 0, "one.jpg"); /* our own: written again */
    snprintf(all, sizeof all, "--frame %s --ago 1 --json", path);
    expect_asked(all, 0, "\"event\":\"frame\"");
    assert_non_null(strstr(out, "one.jpg"));
    write_text(path, "somebody's");
    expect_asked(all, 1, "not overwritten");
    snprintf(all, sizeof all, "--frame %s/no/one.jpg", daemon_one.folder);
    expect_asked(all, 1, "No such file or directory");
    expect_asked("--frame - | od -An -tx1 -N3", 0, " ff d8 ff");
    expect_asked("--frame - --at 2020-01-01T00:00:00Z", 1, "there are");
    expect_asked("--frame - --at noon", 1, "t: want a moment");
}

static void streams_are_paused_and_resumed(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    expect_asked("--pause=video", 0, "\"video\": \"paused\"");
    json_decref(client_wait_text(&c, "{\"op\":\"status\"}", "cameras.0.video.state", "paused"));
    expect_asked("--pause=smell", 1, "want video, audio or both");
    expect_asked("--resume", 0, "\"event\": \"resume\"");
    json_decref(client_wait_text(&c, "{\"op\":\"status\"}", "cameras.0.video.state", "running"));
    client_close(&c);
}

static void the_question_may_come_from_standard_input(void **state)
{
    (void)state;
    char all[512];
    snprintf(all, sizeof all, "--socket %s --max-tokens 3 --json - <<'END'\nWhat is it?\nTell me.\nEND\n",
             daemon_one.ask);
    int code = run(all);
    assert_int_equal(code, 0);
    snprintf(all, sizeof all, "--socket %s - </dev/null", daemon_one.ask);
    expect(all, 2, "no question");
}

static void history_is_a_file(void **state)
{
    (void)state;
    char path[128], all[256];
    snprintf(path, sizeof path, "%s/history.json", daemon_one.folder);
    FILE *file = fopen(path, "w");
    fputs("[{\"question\": \"Who?\", \"answer\": \"Nobody.\"}]", file);
    fclose(file);
    snprintf(all, sizeof all, "--history %s --max-tokens 3 --json 'And now?'", path);
    expect_asked(all, 0, "\"done\"");
    file = fopen(path, "w");
    fputs("[{\"question\": ", file);
    fclose(file);
    expect_asked(all, 2, "history.json, line 1");
    expect_asked("--history /nowhere.json what", 2, "/nowhere.json");
}

static void errors_of_the_daemon_are_exit_1(void **state)
{
    (void)state;
    expect_asked("--camera garden what", 1, "no camera 'garden'; there is x (unknown_camera)");
    expect_asked("--mode offline what", 1, "(bad_field)");
    expect_asked("--retention most what", 1, "found 'most' (bad_field)");
    expect_asked("--choice one what", 1, "choices: want 2 to 64");
}

static void usage_is_exit_2(void **state)
{
    (void)state;
    expect("", 2, "no question");
    expect("--frobnicate what", 2, "frobnicate");
    expect("--timeout soon what", 2, "found 'soon'");
    expect("--status what", 2, "takes no question");
    expect("--pause what", 2, "takes no question");
    expect("--frame x what", 2, "takes no question");
    expect("--frames x --status", 2, "--frames does not go with --status");
    expect("--ago 3 what", 2, "go with --frame only");
    expect("--frame x --ago 3 --at y", 2, "want one of --ago and --at");
    expect("--width 100 what", 2, "--width goes with");
    expect("--help", 0, "--choice");
    expect("--version", 0, "omnid-ask 0.");
}

static void no_daemon_is_exit_3(void **state)
{
    (void)state;
    char all[256], path[100];
    expect("--socket /nowhere/ask.sock what", 3, "no omnid is running (tried /nowhere/ask.sock: No such file");
    snprintf(path, sizeof path, "%.63s/dead.sock", daemon_one.folder); /* left behind by one that was killed */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    snprintf(all, sizeof all, "--socket %s what", path);
    expect(all, 3, "refused");
}

static void silence_is_exit_5(void **state)
{
    (void)state;
    char all[256];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/mute.sock", daemon_one.folder);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* connects, but says nothing */
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    snprintf(all, sizeof all, "--socket %s --timeout 0.3 what", address.sun_path);
    expect(all, 5, "said nothing for 0.3 s");
    close(fd);
}

/* A user who may not write the socket; for root, to whom nothing is forbidden, a child without its rights. */
static void no_permission_is_exit_4(void **state)
{
    (void)state;
    int pipe_fd[2], status = 0;
    struct stat st;
    char path[160];
    snprintf(path, sizeof path, "%s/barred", daemon_one.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0), 0);
    assert_int_equal(chmod(daemon_one.folder, 0755), 0);
    strcat(path, "/ask.sock");
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fd[1], 1);
        dup2(pipe_fd[1], 2);
        if (getuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
            _exit(126);
        execl(OMNID_ASK, OMNID_ASK, "--socket", path, "what", (char *)NULL);
        _exit(127);
    }
    close(pipe_fd[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(pipe_fd[0], out + n, sizeof out - 1 - n)) > 0;)
        n += (size_t)got;
    out[n] = '\0';
    close(pipe_fd[0]);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 127 && getuid() == 0)
        skip(); /* the build folder is closed to other users */
    assert_int_equal(WEXITSTATUS(status), 4);
    assert_int_equal(stat(daemon_one.folder, &st), 0);
    const struct group *group = getgrgid(st.st_gid);
    assert_non_null(strstr(out, "no permission to use"));
    if (group)
        assert_non_null(strstr(out, group->gr_name));
}

static void killed_in_the_middle_it_leaves_nothing(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            int null = open("/dev/null", O_WRONLY);
            dup2(null, 1);
            execl(OMNID_ASK, OMNID_ASK, "--socket", daemon_one.ask, "--max-tokens", "4000", "Tell me all.",
                  (char *)NULL);
            _exit(127);
        }
        sleep_ms(30 + 40 * i);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    for (int i = 0;; i++) {
        json_t *status = client_ask(&c, "{\"op\":\"status\"}");
        bool none = number_at(status, "engine.open_answers") == 0;
        json_decref(status);
        if (none)
            break;
        assert_true(i < 100);
        sleep_ms(100);
    }
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_as_text_or_json),
        cmocka_unit_test(frames_are_saved_as_files),
        cmocka_unit_test(one_frame_is_a_file_or_standard_output),
        cmocka_unit_test(streams_are_paused_and_resumed),
        cmocka_unit_test(the_question_may_come_from_standard_input),
        cmocka_unit_test(history_is_a_file),
        cmocka_unit_test(errors_of_the_daemon_are_exit_1),
        cmocka_unit_test(usage_is_exit_2),
        cmocka_unit_test(no_daemon_is_exit_3),
        cmocka_unit_test(silence_is_exit_5),
        cmocka_unit_test(no_permission_is_exit_4),
        cmocka_unit_test(killed_in_the_middle_it_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
