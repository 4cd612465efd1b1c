#!/bin/bash
# local_slurm.sh up|down|status|env|conf  -- a private, throw-away Slurm "cluster" on this one machine.
#
#   SLURM_LOCAL_DIR    state directory             (default ${TMPDIR:-/tmp}/slurm-local.$UID)
#   SLURM_LOCAL_NODES  number of pretend nodes     (default 2)
#   SLURM_LOCAL_CPUS   CPUs each node claims       (default 1)
#   SLURM_LOCAL_MEM    MB each node claims         (default 4000)
#   SLURM_LOCAL_PORT   first of N+1 free ports     (default 17000)
#
# Own munged (own key, own socket), own slurmctld, one slurmd per node; nothing in /etc, /run or /var is
# touched, no systemd, no cgroups, no /etc/hosts entry.  `down` signals only the pids recorded by `up`, and
# only after checking that the pid is still the program that was started.
# In your shell:  eval "$(./local_slurm.sh env)"  then srun / sbatch / squeue / scontrol.
set -u
PATH=$PATH:/usr/sbin:/sbin
DIR=${SLURM_LOCAL_DIR:-${TMPDIR:-/tmp}/slurm-local.$(id -u)}
NODES=${SLURM_LOCAL_NODES:-2}
CPUS=${SLURM_LOCAL_CPUS:-1}
MEM=${SLURM_LOCAL_MEM:-4000}
PORT=${SLURM_LOCAL_PORT:-17000}
CONF=$DIR/slurm.conf
export SLURM_CONF=$CONF

die() { echo "local_slurm.sh: $*" >&2; exit 1; }

# A pidfile of ours holds "PID PROGRAM"; alive only if that pid still runs that program with our directory
# in its command line (so that a recycled pid is never signalled).
alive() {                                   # alive NAME
    local pid
    [ -s "$DIR/$1.pid" ] || return 1
    read -r pid <"$DIR/$1.pid" 2>/dev/null || return 1
    [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] || return 1
    case $(ps -o stat= -p "$pid" 2>/dev/null) in ''|Z*) return 1;; esac
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$DIR/"
}
pid_of() { read -r p <"$DIR/$1.pid"; echo "$p"; }

names() { local i; echo munged slurmctld; for ((i = 0; i < NODES; i++)); do echo "slurmd-n$i"; done; }

wait_for() {                                # wait_for SECONDS COMMAND...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}

port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {                                   # start NAME COMMAND...  (foreground daemon, pid = ours)
    local name=$1; shift
    setsid "$@" </dev/null >"$DIR/$name.out" 2>&1 &
    echo $! >"$DIR/$name.pid"
    disown
    sleep 0.2
    alive "$name" || { echo "--- $DIR/$name.out" >&2; tail -5 "$DIR/$name.out" >&2
                       [ -f "$DIR/$name.log" ] && tail -5 "$DIR/$name.log" >&2; down >/dev/null; die "$name did not start"; }
}

write_conf() {
    local i last=$((NODES - 1)) range
    [ "$NODES" -gt 1 ] && range="n[0-$last]" || range=n0
    cat >"$CONF" <<EOF
ClusterName=local
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$DIR/munge.socket
CredType=cred/munge
SlurmctldPidFile=$DIR/slurmctld.own.pid
SlurmdPidFile=$DIR/slurmd-%n.own.pid
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool-%n
SlurmctldLogFile=$DIR/slurmctld.log
SlurmdLogFile=$DIR/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=5
MinJobAge=3600
InactiveLimit=0
PropagateResourceLimits=NONE
EOF
    for ((i = 0; i < NODES; i++)); do
        echo "NodeName=n$i NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + 1 + i)) CPUs=$CPUS RealMemory=$MEM State=UNKNOWN" >>"$CONF"
        mkdir -p "$DIR/spool-n$i"
    done
    # GraceTime: preempted jobs get SIGTERM (and the --signal one) this many seconds before SIGKILL
    echo "PartitionName=main Nodes=$range Default=YES MaxTime=UNLIMITED State=UP PriorityTier=1 GraceTime=20" >>"$CONF"
    echo "PartitionName=urgent Nodes=$range MaxTime=UNLIMITED State=UP PriorityTier=10 PreemptMode=OFF" >>"$CONF"
}

ready() { [ "$(sinfo -h -N -p main -o '%T' 2>/dev/null | grep -c -E '^(idle|mixed|allocated|completing)')" = "$NODES" ]; }

up() {
    local n i missing=
    for n in munged slurmctld slurmd srun sinfo; do command -v $n >/dev/null || missing="$missing $n"; done
    case $DIR in /*) ;; *) die "SLURM_LOCAL_DIR must be absolute";; esac
    [ ${#DIR} -le 80 ] || die "SLURM_LOCAL_DIR is too long for a socket path: $DIR"
    [ -z "$missing" ] || die "missing:$missing (Debian/Ubuntu: apt-get install -y --no-install-recommends slurm-wlm munge)"
    if [ -f "$CONF" ] && all_alive && wait_for 5 ready; then echo "already up: $DIR"; return 0; fi
    down >/dev/null                          # a half-alive cluster of ours: clear it first
    for ((i = 0; i <= NODES; i++)); do port_free $((PORT + i)) || die "port $((PORT + i)) is taken (set SLURM_LOCAL_PORT)"; done
    # remove only what is recognisably ours
    if [ -e "$DIR" ]; then
        [ -z "$(ls -A "$DIR" 2>/dev/null)" ] || grep -qs '^ClusterName=local$' "$CONF" || die "$DIR exists and is not a directory of this script"
        rm -rf "$DIR"
    fi
    mkdir -p "$DIR/state" || die "cannot create $DIR"
    chmod 755 "$DIR"
    write_conf
    (umask 077; head -c 1024 /dev/urandom >"$DIR/munge.key")
    start munged munged --foreground --key-file="$DIR/munge.key" --socket="$DIR/munge.socket" \
        --pid-file="$DIR/munged.own.pid" --log-file="$DIR/munged.log" --seed-file="$DIR/munge.seed"
    wait_for 10 test -S "$DIR/munge.socket" || { down >/dev/null; die "munged made no socket; see $DIR/munged.log"; }
    start slurmctld slurmctld -D -i -f "$CONF"
    for ((i = 0; i < NODES; i++)); do start "slurmd-n$i" slurmd -D -f "$CONF" -N "n$i"; done
    wait_for 30 ready || { sinfo -N -l >&2; tail -3 "$DIR"/slurmctld.log "$DIR"/slurmd-n*.log >&2; down >/dev/null; die "nodes did not become idle"; }
    echo "up: $DIR ($NODES nodes); in your shell: export SLURM_CONF=$CONF"
}

all_alive() { local n; for n in $(names); do alive "$n" || return 1; done; }

down() {
    local n left pid f
    local any=; for n in $(names); do alive "$n" && any=1; done
    [ -n "$any" ] || { echo "already down"; return 0; }
    if alive slurmctld; then
        # jobs first, so that slurmstepd and the tasks are ended by slurmd itself
        timeout 10 scancel --user="$(id -un)" --quiet 2>/dev/null
        timeout 10 scancel --signal=KILL --user="$(id -un)" --quiet 2>/dev/null
        wait_for 15 sh -c 'test -z "$(squeue -h 2>/dev/null)"'
    fi
    for f in "$DIR"/slurmd-*.pid "$DIR"/slurmctld.pid "$DIR"/munged.pid; do
        case $f in *.own.pid) continue;; esac
        n=$(basename "$f" .pid); alive "$n" || continue
        pid=$(pid_of "$n"); kill "$pid" 2>/dev/null
        wait_for 10 sh -c "! kill -0 $pid 2>/dev/null" || kill -9 "$pid" 2>/dev/null
    done
    left=; for n in $(names); do alive "$n" && left="$left $n"; done
    [ -z "$left" ] || die "still alive:$left"
    rm -f "$DIR"/*.pid "$DIR"/munge.socket*
    echo "down ($DIR keeps the logs)"
}

status() {
    local n rc=0
    for n in $(names); do if alive "$n"; then echo "$n: pid $(pid_of "$n")"; else echo "$n: not running"; rc=3; fi; done
    [ $rc = 0 ] && sinfo -N -p main -o '%N %T %C'
    return $rc
}

case ${1:-} in
    up) up;;
    down) down;;
    status) status;;
    conf) cat "$CONF";;
    env) echo "export SLURM_CONF=$CONF";;
    *) echo "usage: $0 up|down|status|env|conf" >&2; exit 2;;
esac
