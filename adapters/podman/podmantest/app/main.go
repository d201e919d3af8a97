// Program app is what test images hold: it does what its first argument says.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

// run reads its words in pairs: what to do, and with what.
//
//	print TEXT   write a line to standard output
//	warn TEXT    write a line to standard error
//	env NAME     print the variable's value
//	count N      print N numbered lines
//	write PATH   make a file
//	read PATH    print a file; fails when it is not there
//	need PATH    end with 3 unless the file is there
//	sleep MS     wait
//	exit CODE    end
//	memory MB    touch so much memory
//	serve PORT   accept TCP connections and greet them, until SIGTERM
//	more MS      print "more" every so many milliseconds, until SIGTERM
//	stop PATH    wait for a signal, print its name, make a file unless PATH is
//	             "_", end with 0
//	ignore _     ignore SIGTERM, for ever
//	say TEXT     write it to standard output, without a line end
//	flood N      write N bytes
//	family WORD  start itself as a child with the word, write "ready", ignore
//	             SIGTERM, for ever
func run(words []string) error {
	for ; len(words) >= 2; words = words[2:] {
		if err := do(words[0], words[1]); err != nil {
			return fmt.Errorf("%s %s: %w", words[0], words[1], err)
		}
	}
	return nil
}

func do(verb, value string) error {
	number, _ := strconv.Atoi(value)
	switch verb {
	case "print":
		fmt.Println(value)
	case "warn":
		fmt.Fprintln(os.Stderr, value)
	case "env":
		fmt.Println(os.Getenv(value))
	case "count":
		out := bufio.NewWriter(os.Stdout)
		for i := range number {
			fmt.Fprintf(out, "line %d\n", i+1)
		}
		return out.Flush()
	case "write":
		return os.WriteFile(value, []byte("written\n"), 0o644)
	case "read":
		data, err := os.ReadFile(value)
		os.Stdout.Write(data)
		return err
	case "need":
		if _, err := os.Stat(value); err != nil {
			os.Exit(3)
		}
	case "sleep":
		<-time.After(time.Duration(number) * time.Millisecond)
	case "exit":
		os.Exit(number)
	case "memory":
		held := make([]byte, number<<20)
		for i := range held {
			held[i] = 1
		}
	case "serve":
		return serve(value)
	case "stop":
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1)
		fmt.Println("ready")
		fmt.Println((<-caught).String())
		if value != "_" {
			if err := os.WriteFile(value, nil, 0o644); err != nil {
				return err
			}
		}
		os.Exit(0)
	case "more":
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, syscall.SIGTERM)
		for ticker := time.NewTicker(time.Duration(number) * time.Millisecond); ; {
			select {
			case <-ticker.C:
				fmt.Println("more")
			case <-caught:
				os.Exit(0)
			}
		}
	case "ignore":
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, syscall.SIGTERM)
		fmt.Println("ready")
		for {
			fmt.Println("ignored", <-caught)
		}
	case "say":
		fmt.Print(value)
	case "flood":
		_, err := io.CopyN(os.Stdout, zeroes{}, int64(number))
		return err
	case "family":
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command("/proc/self/exe", "ignore", value)
		if err := child.Start(); err != nil {
			return err
		}
		fmt.Println("ready")
		return child.Wait()
	default:
		return fmt.Errorf("unknown")
	}
	return nil
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }

func serve(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGTERM)
	go func() {
		<-caught
		os.Exit(0)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintln(conn, "hello")
		conn.Close()
	}
}
