#!/bin/bash
# The unit `shotclock` of a drill: systemctl start|stop|restart|status shotclock, without systemd.
# Variables: site, config, http.
pid_file="$site/service.pid"
runs() { # a zombie waits for a reaper that a container may lack
  [ -s "$pid_file" ] && grep --quiet --no-messages "^State:.[^ZX]" "/proc/$(cat "$pid_file")/status"
}
stop() {
  runs && kill -TERM "$(cat "$pid_file")"
  for _ in $(seq 400); do
    runs || break
    sleep 0.1
  done
  runs && kill -KILL "$(cat "$pid_file")"
  rm -f "$pid_file"
}
start() {
  runs && return 0
  setsid shotclock serve --config "$config" >>"$site/service.log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  until curl --silent --fail --output /dev/null "$http/readyz"; do
    runs || return 1
    sleep 0.2
  done
}
case "$1" in
  start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  status) runs ;;
  *) echo "systemctl of a drill: $1 is unknown" >&2; exit 2 ;;
esac
