#!/bin/sh
# A worker: no port, one line now and then.
echo "working for $SHOP_PROJECT at $API_URL"
while :; do
  sleep 60
  echo "still here"
done
