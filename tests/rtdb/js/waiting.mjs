// Until `ready()` holds, which is asked again whenever `event` is called.
export function waiting(ready) {
  let settle;
  const promise = new Promise((resolve) => (settle = resolve));
  const event = () => ready() && settle();
  return { promise, event };
}
