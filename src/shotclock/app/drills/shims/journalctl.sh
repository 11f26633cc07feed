#!/bin/bash
# The log of a drill's service: journalctl --unit shotclock [--grep PATTERN] [--lines N] [--since …].
pattern=.
lines=1000
while [ $# -gt 0 ]; do
  case "$1" in
    --grep) pattern=$2; shift ;;
    --lines) lines=$2; shift ;;
  esac
  shift
done
grep -E -- "$pattern" "$site/service.log" | tail -n "$lines"
