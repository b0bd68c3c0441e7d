#!/usr/bin/env bash
# A PostgreSQL of the tests' own, on a free port of the loopback interface, in a folder that goes with it.
#
#   postgres.sh [--tls CERT KEY] [-c NAME=VALUE]...
#
# Says `ready PORT` once it can be connected to (user and database `grandstand`, password `conformance`), and then takes
# commands, a word a line, each answered by the same word when it is done:
#   stop    ends the database in order, at once        kill    ends all its processes with SIGKILL
#   start   starts it again on the same port        forget  starts it anew, with nothing of its files in memory
# It ends, and takes everything with it, when its standard input does: so it outlives nobody, however they ended. What it
# keeps does not wait for the disk (`fsync=off`): it survives the end of processes, not of the machine.
#
# By hand: `postgres.sh -c fsync=on` in a terminal of its own; Ctrl-D ends it.
set -uo pipefail
export LC_ALL=C

settings=(-c fsync=off -c listen_addresses=127.0.0.1 -c max_connections=200 -c shared_buffers=32MB)
certificate=() server= start_seconds_max=60
while (($#)); do
    case $1 in
    --tls) certificate=("$2" "$3"); shift 3 ;;
    -c) settings+=(-c "$2"); shift 2 ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

fail() { echo "$*" >&2; exit 1; }

# Debian keeps the server's programs off the PATH.
find_programs() {
    local folder
    for folder in "${POSTGRES_BIN-}" "$(command -v initdb | xargs -r readlink -f | xargs -r dirname)" \
        $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
        [[ -n $folder && -x $folder/initdb && -x $folder/postgres ]] && { echo "$folder"; return; }
    done
    fail 'PostgreSQL is missing: install its server (Debian: apt install postgresql), or set POSTGRES_BIN to the folder of initdb and postgres'
}

programs=$(find_programs) || exit
folder=$(mktemp -d) || exit

# PostgreSQL does not run as root.
as_user=()
if [[ $(id -u) == 0 ]]; then
    user=postgres
    id -u $user >/dev/null 2>&1 || user=nobody
    as_user=(setpriv "--reuid=$(id -u $user)" "--regid=$(id -g $user)" --clear-groups)
    chown "$user" "$folder"
fi

# INT ends it in order without waiting for its clients, QUIT at once.
stop() {
    kill "-$1" "$server" && wait "$server"
}

# All at once, so that nothing is tidied up.
kill_all() {
    kill -KILL "$server" $(ps -o pid= --ppid "$server")
    wait "$server" 2>/dev/null
    true
}

# It has to be stopped: what it has not written back cannot be forgotten.
forget_files() {
    sync && find data -type f -exec dd if={} iflag=nocache count=0 status=none ';'
}

start() {
    local deadline=$((SECONDS + start_seconds_max))
    "${as_user[@]}" "$programs/postgres" -D data -p "$port" -k "$folder" "${settings[@]}" >>server.log 2>&1 &
    server=$!
    until "$programs/pg_isready" -q -h 127.0.0.1 -p "$port"; do
        ((SECONDS < deadline)) && kill -0 "$server" 2>/dev/null || return
        sleep 0.05
    done
}

end() {
    [[ -z $server ]] || stop QUIT 2>/dev/null
    rm -rf "$folder"
}
trap end EXIT
trap '' INT TERM

cd "$folder" || exit
"${as_user[@]}" bash -c 'echo conformance >password'
"${as_user[@]}" "$programs/initdb" -D data -U grandstand -A scram-sha-256 --pwfile password -E UTF8 --no-sync \
    >initdb.log 2>&1 || fail "initdb failed: $(tail -n 3 initdb.log)"
if ((${#certificate[@]})); then
    install -m 600 ${user:+-o "$user"} "${certificate[0]}" "$folder/cert.pem"
    install -m 600 ${user:+-o "$user"} "${certificate[1]}" "$folder/key.pem"
    settings+=(-c ssl=on -c "ssl_cert_file=$folder/cert.pem" -c "ssl_key_file=$folder/key.pem")
fi

# Below the ports that the system gives out by itself. Somebody else may take one first, so several are tried.
for try in 1 2 3 4 5 6 7 8; do
    port=$((10000 + RANDOM % 20000))
    start && break
    ((try < 8)) || fail "PostgreSQL does not start: $(tail -n 5 server.log)"
done
PGPASSWORD=conformance "$programs/createdb" -h 127.0.0.1 -p "$port" -U grandstand grandstand || exit
echo "ready $port"

while read -r command; do
    case $command in
    stop) stop INT ;;
    kill) kill_all ;;
    start) start ;;
    forget) stop INT && forget_files && start ;;
    *) fail "no such command: $command" ;;
    esac || fail "$command failed: $(tail -n 5 server.log)"
    echo "$command"
done
