#!/bin/sh
# Asked by the front: what is in stock, and which replica says so.
stock=$(wget -qO- http://stock:5000/stock) || { printf 'Status: 503\n\nno data\n'; exit; }
printf 'Content-Type: text/plain\n\n%s %s, says %s\n' "$stock" "$UNIT" "$(hostname)"
