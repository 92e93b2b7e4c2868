package backends

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is the kernel's struct seccomp_notif, and answer its struct seccomp_notif_resp.
type notification struct {
	id   uint64
	_, _ uint32 // the process, flags
	_, _ uint32 // number of the system call, architecture
	_    uint64 // where it was called
	_    [6]uint64
}

type answer struct {
	id    uint64
	_     int64 // what the call would return
	_     int32 // its error
	flags uint32
}

// startAudit has the kernel ask this process before each fsync and fdatasync of its own, which notes when that was and
// has the kernel go on. It is for the rest of the process's life, and needs no privilege.
func startAudit() (*audit, error) {
	listener, err := listen()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAudit, err)
	}
	a := &audit{}
	go a.serve(listener)
	return a, nil
}

// listen puts the filter before all threads, and returns where the kernel asks.
func listen() (uintptr, error) {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FSYNC, Jt: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FDATASYNC, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
	}
	// The thread that installs the filter must be the one that has given up new privileges.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	listener, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
		uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if failed != 0 {
		return 0, failed
	}
	return listener, nil
}

// serve answers the kernel until the process ends.
func (a *audit) serve(listener uintptr) {
	for {
		var asked notification
		_, _, failed := unix.Syscall(unix.SYS_IOCTL, listener, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked)))
		// A thread that gets a signal, as the runtime sends them, takes its question back and asks it again.
		if errors.Is(failed, unix.EINTR) || errors.Is(failed, unix.ENOENT) {
			continue
		}
		if failed != 0 {
			panic(fmt.Sprintf("backends: audit: %v", failed)) // nobody's fsync would ever return
		}
		moment := monotonic()
		reply := answer{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if _, _, failed = unix.Syscall(unix.SYS_IOCTL, listener, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply))); failed == 0 {
			a.add(moment)
		}
	}
}

// monotonic is the clock that all processes of a machine share, in nanoseconds.
func monotonic() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(fmt.Sprintf("backends: clock: %v", err)) // every Linux has it
	}
	return uint64(now.Nano())
}
