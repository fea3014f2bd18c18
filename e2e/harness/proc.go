// Package harness builds the binaries, runs them as processes, hurts them,
// and waits for what should come of it. It knows processes, disks and
// sockets; what the yard should look like afterwards is the suites' affair.
package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Spec says how a process is started.
type Spec struct {
	Name string
	Path string
	Args []string
	Env  []string
	Dir  string
	// Revive starts the process again when it ends by itself, as systemd
	// would; each such end is counted.
	Revive bool
	// User runs it as somebody else; nil is ourselves.
	User *syscall.Credential
}

// Proc is one process that can be killed, frozen and started again. Its
// output goes to one file over all its lives.
type Proc struct {
	tb   testing.TB
	spec Spec
	log  string

	mu     sync.Mutex
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the present life is over
	asked  bool          // we ended it ourselves
	closed bool          // the test is over
	lives  int
	deaths []string // ends that nobody asked for
	waits  sync.WaitGroup
}

// Start runs spec until the test ends. If the test has failed by then, the
// end of the process's output is shown.
func Start(tb testing.TB, spec Spec) *Proc {
	tb.Helper()
	p := &Proc{tb: tb, spec: spec, log: filepath.Join(Dir(tb), spec.Name+".log")}
	tb.Cleanup(p.close)
	p.Start()
	return p
}

// Name is the name in the Spec.
func (p *Proc) Name() string { return p.spec.Name }

// Start begins a new life; it does nothing when the process runs.
func (p *Proc) Start() {
	p.tb.Helper()
	if err := p.start(); err != nil {
		p.tb.Fatalf("start %s: %v", p.spec.Name, err)
	}
}

func (p *Proc) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.runs() {
		return nil
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the child has its own descriptor
	fmt.Fprintf(out, "--- life %d, %s\n", p.lives+1, time.Now().Format(time.RFC3339Nano))
	cmd := exec.Command(p.spec.Path, p.spec.Args...) //nolint:noctx // its end is Kill or Stop, not a context
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), p.spec.Env...)
	cmd.Dir = p.spec.Dir
	// A killed test must not leave servers behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Credential: p.spec.User}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.asked, p.ended = cmd, false, make(chan struct{})
	p.lives++
	p.waits.Go(func() { p.wait(cmd, p.ended) })
	return nil
}

func (p *Proc) wait(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	surprise := !p.asked && !p.closed
	if surprise {
		p.deaths = append(p.deaths, fmt.Sprintf("%s life %d: %v", p.spec.Name, p.lives, exitText(err)))
	}
	close(ended)
	p.mu.Unlock()
	if !surprise || !p.spec.Revive {
		return
	}
	time.Sleep(300 * time.Millisecond) // as systemd's RestartSec, so that a crash loop does not eat the machine
	if err := p.start(); err != nil {
		p.tb.Errorf("revive %s: %v", p.spec.Name, err)
	}
}

func exitText(err error) string {
	if err == nil {
		return "exit 0"
	}
	return err.Error()
}

// runs is called with mu held.
func (p *Proc) runs() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Running reports whether the process lives.
func (p *Proc) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs()
}

// PID of the present life, 0 when there is none.
func (p *Proc) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runs() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Deaths lists the ends that nobody asked for.
func (p *Proc) Deaths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.deaths...)
}

// Lives says how often the process was started.
func (p *Proc) Lives() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lives
}

// Kill ends the process as a crash would and waits until it is gone.
func (p *Proc) Kill() {
	if ended := p.signal(syscall.SIGKILL); ended != nil {
		<-ended
	}
}

// Freeze stops the process without its noticing.
func (p *Proc) Freeze() { p.raw(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Proc) Thaw() { p.raw(syscall.SIGCONT) }

// Stop asks the process to end and waits; it returns how it ended.
func (p *Proc) Stop(within time.Duration) error {
	ended := p.signal(syscall.SIGTERM)
	if ended == nil {
		return errors.New(p.spec.Name + " does not run")
	}
	select {
	case <-ended:
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("%s still ran %s after SIGTERM", p.spec.Name, within)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %s", p.spec.Name, p.cmd.ProcessState)
	}
	return nil
}

// Interrupt sends SIGINT, as Ctrl-C does, and waits; it returns how it ended.
func (p *Proc) Interrupt(within time.Duration) error {
	p.mu.Lock()
	p.asked = true
	p.mu.Unlock()
	p.raw(syscall.SIGINT)
	return p.Stop(within)
}

// signal announces the end that the signal will bring.
func (p *Proc) signal(sig syscall.Signal) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runs() {
		return nil
	}
	p.asked = true
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself just now
	return p.ended
}

func (p *Proc) raw(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs() {
		_ = p.cmd.Process.Signal(sig) // it may have ended by itself just now
	}
}

func (p *Proc) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Thaw()
	p.Kill()
	p.waits.Wait()
	if p.tb.Failed() {
		p.tb.Logf("end of %s:\n%s", p.log, p.Tail(40))
	}
}

// Tail is the last n lines of the output.
func (p *Proc) Tail(n int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// Log is the path of the output.
func (p *Proc) Log() string { return p.log }
