/* A chat server on uWebSockets, through the C API of a shared library that has it: every text of a client goes to all
 * connections that were opened with the same path. No tokens, no limits that matter. One thread, one loop; publishing to
 * a topic corks and batches as uWebSockets does by itself; nothing is compressed.
 *
 * Declared here is as much of that API as is used. Its first argument is always whether TLS is spoken. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN = 0, MESSAGE_BYTES_MAX = 64 * 1024, BACKLOG_BYTES_MAX = 64 << 20 };

struct app;
struct request;
struct response;
struct socket;
struct context;
struct tls_options { const char *texts[6]; int flag; };
struct listen_options { int port; const char *host; int flags; };
struct behavior {
  int compression;
  unsigned message_bytes_max;
  unsigned short idle_timeout_s;
  unsigned backlog_bytes_max;
  bool close_on_backlog, sending_is_life, pings;
  unsigned short life_minutes_max;
  void (*upgrade)(struct response *, struct request *, struct context *, void *);
  void (*open)(struct socket *, void *);
  void (*message)(struct socket *, const char *, size_t, int opcode, void *);
  void *drain, *ping, *pong;
  void (*close)(struct socket *, int code, const char *, size_t, void *);
  void *subscription;
};

struct app *uws_create_app(int, struct tls_options);
void uws_ws(int, struct app *, const char *path, struct behavior, void *);
void uws_app_listen_with_config(int, struct app *, struct listen_options,
                                void (*)(void *, struct listen_options, void *), void *);
void uws_app_run(int, struct app *);
size_t uws_req_get_url(struct request *, const char **);
size_t uws_req_get_header(struct request *, const char *name, size_t, const char **);
void uws_res_upgrade(int, struct response *, void *data, const char *key, size_t, const char *protocol, size_t,
                     const char *extensions, size_t, struct context *);
void *uws_ws_get_user_data(int, struct socket *);
bool uws_ws_subscribe(int, struct socket *, const char *topic, size_t);
bool uws_publish(int, struct app *, const char *topic, size_t, const char *text, size_t, int opcode, bool compress);
int us_socket_local_port(int, void *);

static struct app *app;

/* The room is the path, which the connection keeps. */
static void let_in(struct response *response, struct request *request, struct context *context, void *none) {
  const char *path, *key;
  size_t path_bytes = uws_req_get_url(request, &path);
  size_t key_bytes = uws_req_get_header(request, "sec-websocket-key", 17, &key);
  uws_res_upgrade(PLAIN, response, strndup(path, path_bytes), key, key_bytes, "", 0, "", 0, context);
}

static void join(struct socket *socket, void *none) {
  const char *room = uws_ws_get_user_data(PLAIN, socket);
  uws_ws_subscribe(PLAIN, socket, room, strlen(room));
}

static void fan_out(struct socket *socket, const char *text, size_t bytes, int opcode, void *none) {
  const char *room = uws_ws_get_user_data(PLAIN, socket);
  uws_publish(PLAIN, app, room, strlen(room), text, bytes, opcode, false);
}

static void leave(struct socket *socket, int code, const char *reason, size_t bytes, void *none) {
  free(uws_ws_get_user_data(PLAIN, socket));
}

static void announce(void *listening, struct listen_options options, void *none) {
  if (!listening) exit(EXIT_FAILURE);
  printf("{\"event\":\"ready\",\"edge\":\"ws://127.0.0.1:%d\"}\n", us_socket_local_port(PLAIN, listening));
  fflush(stdout);
}

int main(void) {
  app = uws_create_app(PLAIN, (struct tls_options){0});
  struct behavior behavior = {
      .message_bytes_max = MESSAGE_BYTES_MAX,
      .backlog_bytes_max = BACKLOG_BYTES_MAX,
      .upgrade = let_in,
      .open = join,
      .message = fan_out,
      .close = leave,
  };
  uws_ws(PLAIN, app, "/*", behavior, NULL);
  uws_app_listen_with_config(PLAIN, app, (struct listen_options){0, "127.0.0.1", 0}, announce, NULL);
  uws_app_run(PLAIN, app);
}
