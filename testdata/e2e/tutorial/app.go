package main

import (
	"fmt"
	"log"
	"net/http"
	"runtime"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Hello World from", runtime.Version())
	})
	log.Fatal(http.ListenAndServe(":80", nil))
}
