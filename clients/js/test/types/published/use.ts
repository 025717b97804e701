// What a user of the package compiles, with the declarations as they are published: see types.test.mjs. Never run.
import { Longwire, type Environment, type LongwireOptions, type Publication, type StreamWriter, type Subscription } from "longwire";

export const line = new Longwire("wss://example.org");
export const lobby: Subscription<{ text: string }> = line.subscribe<{ text: string }>("chat:lobby", {
  onPublication: ({ data, bytes }) => {
    const said: string | undefined = data?.text;
    const size: number | undefined = bytes?.length;
    void [said, size];
    // @ts-expect-error: where there are bytes there is no data
    data.text;
  },
});
export const writer: StreamWriter = line.stream("ai:1");
export const first = async (): Promise<Publication<{ text: string }> | undefined> => (await lobby.history()).publications[0];
export const options: LongwireOptions = { environment: {} satisfies Partial<Environment> };
