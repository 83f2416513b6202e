#!/bin/sh
# Speech, pictures and sounds for training and for the held-out test, into $1/train and $1/test (8 GB, about 10 minutes).
set -eu
d=$1
py=${PYTHON:-python3}
here=$(dirname "$0")
$py "$here/speech.py" --out "$d/train" --per-word 260 --seed 1
$py "$here/speech.py" --out "$d/test" --per-word 45 --seed 900
$py "$here/bank.py" audio --out "$d/train" --seed 10 --segments 26000
$py "$here/bank.py" audio --out "$d/test" --seed 99 --segments 1000
$py "$here/bank.py" video --out "$d/train" --seed 10 --items 2x5500,4x1500,8x1200
$py "$here/bank.py" video --out "$d/test" --seed 99 --items 2x250,4x100,8x150
