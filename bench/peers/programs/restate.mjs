// A service of Restate whose handlers are journaled steps: the server stores each result, and asks for the next.
// Node 20 lacks Promise.withResolvers, which the SDK calls.
Promise.withResolvers ??= () => {
  const found = {};
  found.promise = new Promise((resolve, reject) => Object.assign(found, { resolve, reject }));
  return found;
};
const restate = await import('@restatedev/restate-sdk');

const [port, steps, abreast] = process.argv.slice(2).map(Number);

// One step after the other, as nodes of a chain are.
async function chain(ctx, { n }) {
  let value = n;
  for (let i = 0; i < 4; i++) value = (await ctx.run(`step${i}`, async () => ({ value: value + 1 }))).value;
  return { value };
}

// Steps that do not wait for each other, as the rounds of a loop need not.
async function loop(ctx, { n }) {
  for (let done = 0; done < steps; done += abreast) {
    await restate.RestatePromise.all(
      Array.from({ length: Math.min(abreast, steps - done) }, (_, i) => ctx.run(`step${done + i}`, async () => ({ value: n }))),
    );
  }
  return { value: n };
}

const peer = restate.service({ name: 'peer', handlers: { chain, loop } });
await restate.serve({ services: [peer], port: port });
