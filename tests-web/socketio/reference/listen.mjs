/** Listens on the HOST:PORT that the command line names, and says so. */
export function listen(http) {
  const [host, port] = process.argv[2]?.split(":") ?? [];
  if (!port) throw new Error("the first argument is the address to listen on, HOST:PORT");
  http.listen({ host, port: Number(port), backlog: 4096 }, () => console.log(`listening on ${host}:${port}`));
}
